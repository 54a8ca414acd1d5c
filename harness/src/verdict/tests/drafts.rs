//! Drafted tokens: what a pass reads, what a text that repeats itself is worth, and how many held.

use super::*;
use qa_protocol::Drafts;

/// Eight tokens by four passes, and a draft that did not hold.
const DRAFTS: Drafts = Drafts { passes: 4, drafted: 12, accepted: 4, rejected: 1, cycles_from: None };

#[test]
fn passes_read_weights_and_drafts_do_not() {
    let model = Story::with_ratios(FASTER, &AROUND_1_3).environment.models["m"].bytes_per_token;
    // 1.5 times what 100 tok/s by a pass each read, and less than what 130 tok/s would.
    let ceiling = Some(model * 120);
    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    story.each_process("a", |_, _, prepared| prepared.device.read_bytes_per_s = ceiling);
    story.expect(Verdict::Invalid, "reads at most");
    story.each_sample("a", |_, sample| sample.witness.drafts = Some(DRAFTS));
    story.expect(Verdict::Pass, "1.30x");
}

#[test]
fn drafts_out_of_a_text_that_goes_in_circles_are_invalid() {
    let mut story = Story::with_ratios(FASTER, &AROUND_1_3);
    story.each_sample("a", |key, sample| {
        let cycles_from = (key.block == 3).then_some(5);
        sample.witness.drafts = Some(Drafts { cycles_from, ..DRAFTS });
    });
    story.expect(Verdict::Invalid, "The text of a repeats itself after 5 tokens");
}

#[test]
fn the_acceptance_of_drafts_is_bounded_over_those_that_were_looked_at() {
    let entries = r"
checkpoints:
  - { id: W, title: T, witness: { arm: a, draft_acceptance: { at_least: 0.7, at_most: 0.9 } } }
";
    let mut story = Story::with_ratios(entries, &AROUND_1_3);
    story.expect(Verdict::Invalid, "did not count its draft acceptance");
    story.each_sample("a", |_, sample| sample.witness.drafts = Some(DRAFTS));
    story.expect(Verdict::Pass, "12 timed iterations");
    story.each_sample("a", |_, sample| sample.witness.drafts = Some(Drafts { accepted: 3, rejected: 2, ..DRAFTS }));
    story.expect(Verdict::Invalid, "draft acceptance: 0.60");
}

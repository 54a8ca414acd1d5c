//! Model files that were, or were not, where their workload says.

use super::*;
use crate::spec::PageCache;

const LOADS: &str = "
acceptance:
  - { id: P, title: T, require: { metric: load_time, of: a, at_most: 9 } }
";

/// A run in which so much of the model was in the page cache, block by block.
fn story(asked: PageCache, resident: impl Fn(u32) -> Option<Result<f64, String>>) -> Story {
    let mut story = Story::with_ratios(LOADS, &AROUND_1_3);
    story.spec.workloads.get_mut("decode").expect("it is in the head").page_cache = Some(asked);
    for evidence in &mut story.evidence {
        if let Evidence::Process { process, resident: told, .. } = evidence {
            *told = resident(process.block);
        }
    }
    story
}

fn share(of_block_two: f64, of_others: f64) -> impl Fn(u32) -> Option<Result<f64, String>> {
    move |block| Some(Ok(if block == 1 { of_block_two } else { of_others }))
}

#[test]
fn a_file_that_was_where_it_had_to_be_is_told() {
    for (asked, resident, told) in [
        (PageCache::Cold, share(0.05, 0.0), "cold: at most 5.0 % of the model's file when a process was started"),
        (PageCache::Warm, share(0.95, 1.0), "warm: at least 95.0 % of the model's file when a process was started"),
    ] {
        let entry = story(asked, resident).expect(Verdict::Pass, "5.00 ms");
        let row = &entry.claims[0].facts[0];
        assert_eq!((row.name.as_str(), row.value.as_str()), ("page cache of a", told));
    }
}

#[test]
fn one_process_whose_file_was_elsewhere_invalidates_the_others() {
    for (asked, resident, told, remedy) in [
        (
            PageCache::Cold,
            share(0.06, 0.0),
            "When a was started in block 2, 6.0 % of /models/m.gguf was in the page cache; `page_cache: cold` needs at most 5 %",
            "end whatever else has it mapped",
        ),
        (
            PageCache::Warm,
            share(0.94, 1.0),
            "When a was started in block 2, 94.0 % of /models/m.gguf was in the page cache; `page_cache: warm` needs at least 95 %",
            "more memory",
        ),
        (PageCache::Cold, share(f64::NAN, 0.0), "in block 2", "on a disk"),
    ] {
        let entry = story(asked, resident).expect(Verdict::Invalid, told);
        assert!(
            entry.claims[0].remedy.as_ref().is_some_and(|text| text.contains(remedy)),
            "{:?}",
            entry.claims[0].remedy
        );
    }
}

#[test]
fn what_is_not_known_is_not_believed() {
    let refused = |_| Some(Err("/models/m.gguf: the kernel does not say".to_owned()));
    story(PageCache::Cold, refused)
        .expect(Verdict::Blocked, "in block 1 is not known: /models/m.gguf: the kernel does not say");
    story(PageCache::Warm, |_| None).expect(Verdict::Blocked, "in block 1 is not known: its record does not say");
}

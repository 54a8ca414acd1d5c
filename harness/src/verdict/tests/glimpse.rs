//! Where claims stand while a run goes on.

use super::*;

fn glimpses(story: &Story, workload: &str) -> Vec<Glimpse> {
    let record =
        |(seq, evidence): (usize, &Evidence)| Record { seq: seq as u64, at: String::new(), evidence: evidence.clone() };
    let records: Vec<Record> = story.evidence.iter().enumerate().map(record).collect();
    Onlooker::new(&story.spec, &story.environment).so_far(&records, workload, usize::MAX).0
}

const TWO: &str = r"
acceptance:
  - id: P
    title: Faster
    require: { metric: decode_rate, of: a, over: b, at_least: 1.25 }
    gain: { metric: decode_rate, of: a, over: b, claimed: 1.5 }
";

#[test]
fn bounds_close_in_as_blocks_come() {
    let after = |blocks: usize| glimpses(&Story::with_ratios(TWO, &AROUND_1_3[..blocks]), "decode");
    assert!(after(0).is_empty(), "nothing was measured");
    let one = after(1);
    assert_eq!(one.iter().map(|g| g.label.as_str()).collect::<Vec<_>>(), ["P", "P gain"]);
    assert_eq!((one[0].samples, one[0].planned, one[0].bounds), (1, 6, None));
    let width = |glimpse: &Glimpse| glimpse.bounds.map(|[lower, upper]| upper / lower).unwrap();
    let (two, six) = (after(2), after(6));
    assert!(width(&six[0]) < width(&two[0]), "{two:?} {six:?}");
    assert_eq!((six[0].margins, six[1].margins), ([Some(1.25), None], [Some(1.5), None]));
    assert!(after(6).iter().all(|glimpse| (glimpse.estimate - 1.3).abs() < 0.01));
}

#[test]
fn of_many_claims_the_first_are_looked_at_and_the_others_counted() {
    let story = Story::with_ratios(TWO, &AROUND_1_3);
    let record =
        |(seq, evidence): (usize, &Evidence)| Record { seq: seq as u64, at: String::new(), evidence: evidence.clone() };
    let records: Vec<Record> = story.evidence.iter().enumerate().map(record).collect();
    let (shown, others) = Onlooker::new(&story.spec, &story.environment).so_far(&records, "decode", 1);
    assert_eq!((shown.len(), shown[0].label.as_str(), others), (1, "P", 1));
}

#[test]
fn another_workload_has_none() {
    assert!(glimpses(&Story::with_ratios(TWO, &AROUND_1_3), "other").is_empty());
}

//! A decode that is looked at: counted by CUPTI beside this backend's own counters, with the timeline of one token.

use crate::cupti::{Activity, Cupti};
use crate::decoder::{Decoder, Generation};
use crate::error::Result;
use crate::trace::{PhaseSpan, Trace};
use crate::witness::{Launch, Log};
use qa_protocol::{Confirmation, Lane, LaneKind, Profile, ProfileRequest, Span, Timeline, Witness};
use std::collections::{BTreeMap, BTreeSet};

/// Names of this backend's streams, by index.
const STREAMS: [&str; 2] = ["main stream", "side stream"];
/// Blocks of a resident grid that are shown one by one.
const BLOCKS_SHOWN: u32 = 4;

/// Profiles one decode of a decoder that was loaded to be profiled.
///
/// # Errors
/// As [`Decoder::generate`].
pub fn profile(
    decoder: &mut Decoder,
    cupti: std::result::Result<&Cupti, &String>,
    request: &ProfileRequest,
) -> Result<Profile> {
    // The first decode captures graphs and warms caches.
    let warm = decode(decoder, request)?;
    decoder.recorder().take(0, 0);
    drop(warm);
    let flushed = cupti.map_err(Clone::clone).and_then(Cupti::take);
    decoder.recorder().begin_log();
    let (generation, trace) = decode(decoder, request)?;
    let log = decoder.recorder().end_log();
    let counted = decoder.recorder().take(generation.grid_syncs, generation.positions);
    let witness = Witness { drafts: generation.drafts, ..counted };
    let seen = flushed.and_then(|_| cupti.map_err(Clone::clone)).and_then(Cupti::take);

    let entry_of: BTreeMap<String, String> =
        decoder.kernels().facts.iter().map(|(name, facts)| (name.clone(), facts.entry.clone())).collect();
    let tokens = (generation.tokens.len() as u32).saturating_sub(1);
    let counted = seen.as_ref().map_err(Clone::clone).and_then(|seen| count(&log, seen));
    let confirmation = match (counted, cupti) {
        (Ok(witness), Ok(cupti)) => Confirmation::Counted { by: cupti.name(), witness },
        (Err(reason), _) => Confirmation::Unconfirmed { reason },
        (Ok(_), Err(reason)) => Confirmation::Unconfirmed { reason: reason.clone() },
    };
    let timeline = match &trace {
        Some(trace) => Some(of_phases(&trace.spans, tokens, &|phase, layer| decoder.phase_bytes(phase, layer))),
        // Passes that verify drafts are no tokens, and not alike.
        None if decoder.drafting().is_some() => None,
        None => seen.ok().and_then(|seen| of_kernels(&log, &seen, &entry_of, tokens)),
    };
    let used: BTreeSet<&String> = witness.kernels.keys().collect();
    let entries = entry_of.into_iter().filter(|(name, entry)| used.contains(name) && name != entry).collect();
    Ok(Profile { decode_tokens: tokens, witness, confirmation, entries, timeline })
}

/// One decode: of a resident grid with its own clocks' trace.
fn decode(decoder: &mut Decoder, request: &ProfileRequest) -> Result<(Generation, Option<Trace>)> {
    let count = request.generate_tokens as usize;
    if decoder.trace.is_some() && count > 1 {
        let trace = decoder.trace(&request.prompt, count)?;
        return Ok((trace.generation.clone(), Some(trace)));
    }
    Ok((decoder.generate(&request.prompt, count, request.ignore_eos, &mut |_| ())?, None))
}

/// What CUPTI saw of the decode: everything but the prompt's kernels, which come first.
fn count(log: &Log, seen: &[Activity]) -> std::result::Result<Witness, String> {
    let Some(decode) = seen.get(log.prompt..) else {
        return Err(format!(
            "CUPTI saw {} kernels, and the prompt alone submitted {}: its records are not complete.",
            seen.len(),
            log.prompt
        ));
    };
    let mut kernels: BTreeMap<String, u64> = BTreeMap::new();
    for activity in decode {
        *kernels.entry(activity.entry.clone()).or_default() += 1;
    }
    let replays: BTreeSet<u32> = decode.iter().filter(|a| a.node != 0).map(|a| a.call).collect();
    let streams: BTreeSet<u32> = decode.iter().map(|a| a.stream).collect();
    Ok(Witness {
        launches: Some(decode.iter().filter(|a| a.node == 0).count() as u64),
        graph_replays: Some(replays.len() as u64),
        streams: Some(streams.len() as u64),
        kernels,
        ..Witness::default()
    })
}

/// The kernels of a token in the middle of the decode. `None` where what CUPTI saw is not what was submitted, kernel by
/// kernel, or where a token is not a number of kernels of its own.
fn of_kernels(log: &Log, seen: &[Activity], entries: &BTreeMap<String, String>, tokens: u32) -> Option<Timeline> {
    let submitted = log.launches.get(log.prompt..)?;
    let ran = seen.get(log.prompt..)?;
    let entry = |launch: &Launch| entries.get(&*launch.kernel).map(String::as_str);
    let same = submitted.len() == ran.len() && submitted.iter().zip(ran).all(|(l, a)| entry(l) == Some(&a.entry));
    let each = submitted.len().checked_div(tokens as usize)?;
    if !same || each == 0 || !submitted.len().is_multiple_of(tokens as usize) {
        return None;
    }
    let token = tokens / 2;
    let range = token as usize * each..(token as usize + 1) * each;
    let pairs = || submitted[range.clone()].iter().zip(&ran[range.clone()]);
    let origin = pairs().map(|(_, activity)| activity.begin_ns).min()?;
    let mut spans: Vec<Span> = pairs()
        .map(|(launch, activity)| Span {
            name: launch.kernel.to_string(),
            lane: launch.stream as u32,
            begin_ns: (activity.begin_ns - origin) as f64,
            end_ns: activity.end_ns.saturating_sub(origin) as f64,
            bytes: launch.bytes,
            ..Span::default()
        })
        .collect();
    spans.sort_by(|a, b| a.begin_ns.total_cmp(&b.begin_ns));
    let used = spans.iter().map(|span| span.lane).max()?;
    let lane = |name: &&str| Lane { name: (*name).to_owned(), kind: LaneKind::Stream };
    Some(Timeline {
        source: "CUPTI, under which a launch takes longer than in a timed run".into(),
        token,
        lanes: STREAMS.iter().take(used as usize + 1).map(lane).collect(),
        spans,
    })
}

/// The phases of a resident grid: over all blocks, and of a few blocks one by one.
fn of_phases(phases: &[PhaseSpan], tokens: u32, bytes: &dyn Fn(&str, Option<u32>) -> u64) -> Timeline {
    let blocks = phases.iter().map(|phase| phase.block + 1).max().unwrap_or(0);
    let shown: BTreeSet<u32> = (0..BLOCKS_SHOWN.min(blocks))
        .map(|index| index * blocks.saturating_sub(1) / BLOCKS_SHOWN.min(blocks).saturating_sub(1).max(1))
        .collect();
    // In the order of one block, which is that of all.
    let order: Vec<&PhaseSpan> = phases.iter().filter(|phase| phase.block == 0).collect();
    let mut whole: BTreeMap<(&str, Option<u32>), (f64, f64)> = BTreeMap::new();
    for phase in phases {
        let (begin, end) = whole.entry((phase.phase, phase.layer)).or_insert((f64::INFINITY, f64::NEG_INFINITY));
        *begin = begin.min(phase.begin_ns);
        *end = end.max(phase.end_ns);
    }
    let mut spans: Vec<Span> = order
        .iter()
        .filter_map(|phase| {
            let (begin_ns, end_ns) = *whole.get(&(phase.phase, phase.layer))?;
            let (name, layer) = (phase.phase.to_owned(), phase.layer);
            Some(Span { name, lane: 0, layer, begin_ns, end_ns, wait_ns: None, bytes: bytes(phase.phase, layer) })
        })
        .collect();
    let mut lanes = vec![Lane { name: format!("all {blocks} blocks"), kind: LaneKind::Grid }];
    for block in shown {
        let lane = lanes.len() as u32;
        lanes.push(Lane { name: format!("block {block}"), kind: LaneKind::Block });
        spans.extend(phases.iter().filter(|phase| phase.block == block).map(|phase| Span {
            name: phase.phase.to_owned(),
            lane,
            layer: phase.layer,
            begin_ns: phase.begin_ns,
            end_ns: phase.end_ns,
            wait_ns: Some((phase.ready_ns - phase.begin_ns).max(0.0)),
            bytes: 0,
        }));
    }
    spans.sort_by(|a, b| a.begin_ns.total_cmp(&b.begin_ns).then(a.lane.cmp(&b.lane)));
    let source = "the kernel's own clocks: a build of it that writes down its phases, which costs it some time";
    Timeline { source: source.into(), token: tokens.saturating_sub(1), lanes, spans }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(kernel: &str, stream: usize, bytes: u64) -> Launch {
        Launch { kernel: kernel.into(), stream, bytes }
    }

    fn ran(entry: &str, stream: u32, call: u32, node: u64, begin_ns: u64) -> Activity {
        Activity { entry: entry.into(), stream, call, node, begin_ns, end_ns: begin_ns + 900 }
    }

    /// A prompt of one kernel, then two tokens of two kernels: the second on the side stream.
    fn story(node: u64) -> (Log, Vec<Activity>, BTreeMap<String, String>) {
        let token = || [launch("norm_896", 0, 0), launch("head", 1, 5000)];
        let launches = [launch("embed", 0, 0)].into_iter().chain(token()).chain(token()).collect();
        let call = |token: u32, kernel: u32| if node == 0 { 2 + 2 * token + kernel } else { 2 + token };
        let seen = vec![
            ran("embed", 7, 1, 0, 100),
            ran("norm", 7, call(0, 0), node, 2000),
            ran("head", 9, call(0, 1), node, 2500),
            ran("norm", 7, call(1, 0), node, 4000),
            ran("head", 9, call(1, 1), node, 4500),
        ];
        let entries = [("embed", "embed"), ("norm_896", "norm"), ("head", "head")];
        (Log { launches, prompt: 1 }, seen, entries.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
    }

    #[test]
    fn the_prompt_is_not_counted_and_a_graph_is_one_call() {
        let (log, seen, _) = story(0);
        let counted = count(&log, &seen).unwrap();
        assert_eq!((counted.launches, counted.graph_replays, counted.streams), (Some(4), Some(0), Some(2)));
        assert_eq!(counted.kernels, [("norm", 2), ("head", 2)].map(|(k, n)| (k.to_owned(), n)).into());
        let (log, seen, _) = story(5);
        let counted = count(&log, &seen).unwrap();
        assert_eq!((counted.launches, counted.graph_replays), (Some(0), Some(2)));
        assert!(count(&log, &[]).unwrap_err().contains("not complete"));
    }

    #[test]
    fn a_token_is_shown_with_its_streams_and_bytes() {
        let (log, seen, entries) = story(0);
        let timeline = of_kernels(&log, &seen, &entries, 2).unwrap();
        assert_eq!(timeline.token, 1);
        let lanes: Vec<&str> = timeline.lanes.iter().map(|lane| lane.name.as_str()).collect();
        assert_eq!(lanes, ["main stream", "side stream"]);
        let spans = timeline.spans.iter().map(|s| (s.name.as_str(), s.lane, s.begin_ns, s.end_ns, s.bytes));
        assert_eq!(spans.collect::<Vec<_>>(), [("norm_896", 0, 0.0, 900.0, 0), ("head", 1, 500.0, 1400.0, 5000)]);
    }

    #[test]
    fn what_ran_in_another_order_than_it_was_submitted_has_no_timeline() {
        let (log, mut seen, entries) = story(0);
        seen.swap(1, 2);
        assert_eq!(of_kernels(&log, &seen, &entries, 2), None);
        let (log, seen, entries) = story(0);
        assert_eq!(of_kernels(&log, &seen[..4], &entries, 2), None);
        assert_eq!(of_kernels(&log, &seen, &entries, 3), None, "four kernels are no three tokens");
        assert_eq!(of_kernels(&log, &seen, &entries, 0), None);
    }

    #[test]
    fn a_phase_of_the_grid_lasts_from_its_first_block_to_its_last() {
        let span = |phase, layer, block, begin_ns: f64| PhaseSpan {
            phase,
            layer,
            block,
            begin_ns,
            ready_ns: begin_ns + 10.0,
            staged_ns: begin_ns + 20.0,
            end_ns: begin_ns + 100.0,
        };
        let phases: Vec<PhaseSpan> = (0..9)
            .flat_map(|block| {
                let skew = f64::from(block);
                [span("qkv", Some(0), block, skew), span("head", None, block, 200.0 + skew)]
            })
            .collect();
        let timeline = of_phases(&phases, 8, &|phase, _| if phase == "head" { 7 } else { 3 });
        let lanes: Vec<&str> = timeline.lanes.iter().map(|lane| lane.name.as_str()).collect();
        assert_eq!(lanes, ["all 9 blocks", "block 0", "block 2", "block 5", "block 8"]);
        let grid: Vec<&Span> = timeline.spans.iter().filter(|span| span.lane == 0).collect();
        assert_eq!((grid.len(), grid[0].begin_ns, grid[0].end_ns, grid[0].bytes), (2, 0.0, 108.0, 3));
        assert_eq!((grid[1].name.as_str(), grid[1].layer, grid[1].end_ns), ("head", None, 308.0));
        let close = timeline.spans.iter().find(|span| span.lane == 4).unwrap();
        assert_eq!((close.begin_ns, close.wait_ns, close.bytes), (8.0, Some(10.0), 0));
        assert_eq!(timeline.token, 7);
    }
}

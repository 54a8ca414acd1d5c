//! What no honest load can say.

use super::{ms, time};
use qa_protocol::{Arrivals, Load, Metric, RunRequest, Sample, ServedRequest};

/// How far a request's time may lie from when it was to be sent, in nanoseconds: rounding.
const ROUNDING_NS: f64 = 1e3;

/// The requests of a sample against what was asked for.
///
/// # Errors
/// What is wrong with them, as a sentence's end.
pub(super) fn check(sample: &Sample, request: &RunRequest, load: &Load) -> Result<(), String> {
    let (found, asked) = (sample.requests.len(), load.requests);
    if found != asked as usize {
        return Err(format!("it tells of {found} requests, and {asked} were asked for"));
    }
    if sample.prompt_tokens as usize != request.prompt.len() {
        let (says, asked) = (sample.prompt_tokens, request.prompt.len());
        return Err(format!("it says that the prompts had {says} tokens, and {asked} were asked for"));
    }
    for (index, served) in sample.requests.iter().enumerate() {
        one(served, request).map_err(|problem| format!("request {index}: {problem}"))?;
    }
    match &load.arrivals {
        Arrivals::Open { at_ns } => {
            for (index, (served, at)) in sample.requests.iter().zip(at_ns).enumerate() {
                if (served.scheduled_ns - at).abs() > ROUNDING_NS {
                    let (says, due) = (ms(served.scheduled_ns), ms(*at));
                    return Err(format!("request {index} was due after {due}, and it counts from {says}"));
                }
            }
            Ok(())
        }
        Arrivals::Closed { clients } => at_a_time(&sample.requests, *clients),
    }
}

/// Until when an iteration lasted, in nanoseconds.
pub(super) fn span_ns(sample: &Sample) -> f64 {
    sample.requests.iter().map(|request| request.ended_ns).fold(0.0, f64::max)
}

fn one(served: &ServedRequest, request: &RunRequest) -> Result<(), String> {
    let ServedRequest { scheduled_ns, sent_ns, first_ns, ended_ns, tokens, token_ns, error } = served;
    let times = [Some(*scheduled_ns), Some(*sent_ns), *first_ns, Some(*ended_ns)];
    let order: Vec<f64> = times.into_iter().flatten().collect();
    if order.iter().any(|ns| !(ns.is_finite() && *ns >= 0.0)) || order.windows(2).any(|pair| pair[1] < pair[0]) {
        return Err(format!("it was due, sent, begun and ended after {order:?} ns"));
    }
    if error.is_some() {
        return Ok(());
    }
    let (first, asked) = (first_ns.ok_or("it has no `first_ns`, and no `error`")?, request.generate_tokens);
    let fewest = if request.ignore_eos { asked } else { 1 };
    if *tokens < fewest || *tokens > asked {
        return Err(format!("it generated {tokens} tokens, and {asked} were asked for"));
    }
    token_ns.iter().try_for_each(|ns| time("token_ns", Some(*ns)))?;
    let gaps = [Metric::InterTokenLatencyP50, Metric::InterTokenLatencyP99];
    let wanted = request.metrics.iter().any(|metric| gaps.contains(metric)) && *tokens > 1;
    if (wanted || !token_ns.is_empty()) && token_ns.len() + 1 != *tokens as usize {
        return Err(format!("`token_ns` has {} times for {tokens} tokens", token_ns.len()));
    }
    let (parts, whole) = (token_ns.iter().sum::<f64>(), ended_ns - first);
    if parts > whole * super::TOKENS_SHARE + ROUNDING_NS {
        return Err(format!("its tokens took {} together, and all of them {}", ms(parts), ms(whole)));
    }
    Ok(())
}

/// Clients that each wait for an answer have no more requests on their way than there are of them.
fn at_a_time(requests: &[ServedRequest], clients: u32) -> Result<(), String> {
    // An end comes before a begin at the same time: that is a client that goes on.
    let begins = requests.iter().map(|request| (request.sent_ns, 1));
    let mut turns: Vec<(f64, i64)> = begins.chain(requests.iter().map(|request| (request.ended_ns, -1))).collect();
    turns.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut now, mut most) = (0_i64, 0);
    for (_, turn) in turns {
        now += turn;
        most = most.max(now);
    }
    if most > i64::from(clients) {
        return Err(format!("{most} requests were on their way at a time, and there are {clients} clients"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arrivals: Arrivals, ignore_eos: bool) -> RunRequest {
        let load = Load { arrivals, requests: 2, prompts: vec![vec![1, 2], vec![2, 1]] };
        RunRequest {
            prompt: vec![1, 2],
            generate_tokens: 3,
            sampling: qa_protocol::Sampling::Greedy,
            ignore_eos,
            warmup: 0,
            iterations: 1,
            metrics: vec![Metric::InterTokenLatencyP50],
            tokens: false,
            load: Some(load),
        }
    }

    fn served(due: f64, first: f64, ended: f64) -> ServedRequest {
        let gap = (ended - first) / 2.0;
        ServedRequest {
            scheduled_ns: due,
            sent_ns: due + 1e5,
            first_ns: Some(first),
            ended_ns: ended,
            tokens: 3,
            token_ns: vec![gap, gap],
            error: None,
        }
    }

    fn sample() -> Sample {
        let requests = vec![served(1e6, 5e6, 9e6), served(6e6, 10e6, 14e6)];
        Sample { prompt_tokens: 2, requests, ..Sample::default() }
    }

    fn open() -> Arrivals {
        Arrivals::Open { at_ns: vec![1e6, 6e6] }
    }

    #[track_caller]
    fn refused(arrivals: Arrivals, change: fn(&mut Sample), phrase: &str) {
        let request = request(arrivals, true);
        let mut sample = sample();
        change(&mut sample);
        let problem = check(&sample, &request, request.load.as_ref().unwrap()).unwrap_err();
        assert!(problem.contains(phrase), "{phrase:?} is not in: {problem}");
    }

    #[test]
    fn what_was_asked_for_is_believed() {
        for arrivals in [open(), Arrivals::Closed { clients: 2 }] {
            let request = request(arrivals, true);
            assert_eq!(check(&sample(), &request, request.load.as_ref().unwrap()), Ok(()));
        }
        // A request that failed needs no more than its times and its reason.
        let request = request(open(), true);
        let mut sample = sample();
        sample.requests[1] =
            ServedRequest { first_ns: None, tokens: 0, token_ns: vec![], ..sample.requests[1].clone() };
        assert!(check(&sample, &request, request.load.as_ref().unwrap()).unwrap_err().contains("no `first_ns`"));
        sample.requests[1].error = Some("status 503".into());
        assert_eq!(check(&sample, &request, request.load.as_ref().unwrap()), Ok(()));
        assert!((span_ns(&sample) - 14e6).abs() < 1.0);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        refused(open(), |s| drop(s.requests.pop()), "1 requests, and 2 were asked for");
        refused(open(), |s| s.prompt_tokens = 1, "the prompts had 1 tokens, and 2");
        refused(open(), |s| s.requests[1].scheduled_ns = 6.05e6, "request 1 was due after 6.000 ms");
        refused(open(), |s| s.requests[0].sent_ns = 0.5e6, "due, sent, begun and ended");
        refused(open(), |s| s.requests[0].first_ns = Some(f64::NAN), "due, sent, begun and ended");
        refused(open(), |s| s.requests[1].ended_ns = 7e6, "due, sent, begun and ended");
        refused(open(), |s| s.requests[1].tokens = 2, "generated 2 tokens, and 3 were asked for");
        refused(open(), |s| s.requests[1].token_ns.truncate(1), "`token_ns` has 1 times for 3 tokens");
        refused(open(), |s| s.requests[1].token_ns.clear(), "`token_ns` has 0 times for 3 tokens");
        refused(open(), |s| s.requests[1].token_ns[0] = 9e6, "together");
        refused(
            Arrivals::Closed { clients: 1 },
            |_| (),
            "2 requests were on their way at a time, and there are 1 clients",
        );
    }
}

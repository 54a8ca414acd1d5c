//! Metrics of several requests at a time. A request that failed is one that was never answered: it is later than every
//! other, and in time for nothing.

use crate::samples::{Part, Work};
use crate::spec::Load;
use qa_protocol::{Metric, ServedRequest};

/// A process's value of a metric of a load, in nanoseconds, requests a second or tokens a second. `None` where the samples do
/// not hold it, or where it is that of a request that was never answered.
pub(super) fn of_process(metric: Metric, timed: &Part<'_>, load: &Load) -> Option<f64> {
    let requests = || timed.clone().flat_map(|sample| &sample.work.requests);
    let a_second =
        |count: f64| Some(count / (timed.clone().map(|sample| span_ns(sample.work)).sum::<Option<f64>>()? * 1e-9));
    let value = match metric {
        Metric::Goodput => a_second(requests().filter(|request| in_time(request, load)).count() as f64)?,
        Metric::OutputRate => {
            let answered = requests().filter(|request| request.error.is_none());
            a_second(answered.map(|request| f64::from(request.tokens)).sum())?
        }
        Metric::TimeToFirstToken => {
            let all: Vec<f64> = requests().map(ServedRequest::first_token_ns).collect();
            all.iter().sum::<f64>() / all.len() as f64
        }
        Metric::TimeToFirstTokenP50 => percentile(requests().map(ServedRequest::first_token_ns).collect(), 0.5)?,
        Metric::TimeToFirstTokenP99 => percentile(requests().map(ServedRequest::first_token_ns).collect(), 0.99)?,
        Metric::InterTokenLatencyP50 => percentile(gaps(timed), 0.5)?,
        Metric::InterTokenLatencyP99 => percentile(gaps(timed), 0.99)?,
        _ => return None,
    };
    value.is_finite().then_some(value)
}

/// Whether a request was answered within the bounds of its load.
pub(super) fn in_time(request: &ServedRequest, load: &Load) -> bool {
    let within = |ns: f64, bound_ms: Option<f64>| ns.is_finite() && bound_ms.is_none_or(|bound| ns <= bound * 1e6);
    within(request.first_token_ns(), load.first_token_ms) && within(request.per_token_ns(), load.per_token_ms)
}

/// From the begin of an iteration to the end of its last request.
fn span_ns(work: &Work) -> Option<f64> {
    work.requests.iter().map(|request| request.ended_ns).reduce(f64::max)
}

/// Times between tokens; one that never ends for a request that was not answered.
fn gaps(timed: &Part<'_>) -> Vec<f64> {
    let mut all = Vec::new();
    for request in timed.clone().flat_map(|sample| &sample.work.requests) {
        match request.error {
            None => all.extend(&request.token_ns),
            Some(_) => all.push(f64::INFINITY),
        }
    }
    all
}

/// The smallest value that at least this share does not exceed: an observed one, never an interpolated one.
pub(super) fn percentile(mut all: Vec<f64>, share: f64) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    let rank = (all.len() as f64 * share).ceil() as usize;
    all.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Phase, Rows};
    use qa_protocol::Sample;

    const MS: f64 = 1e6;

    /// A request that was due, sent, begun and ended at these milliseconds, with four tokens.
    fn request(due: f64, sent: f64, first: f64, ended: f64) -> ServedRequest {
        let [scheduled_ns, sent_ns, first_ns, ended_ns] = [due, sent, first, ended].map(|ms| ms * MS);
        let token_ns = vec![(ended_ns - first_ns) / 3.0; 3];
        ServedRequest { scheduled_ns, sent_ns, first_ns: Some(first_ns), ended_ns, tokens: 4, token_ns, error: None }
    }

    fn failed(due: f64, ended: f64) -> ServedRequest {
        let (scheduled_ns, ended_ns) = (due * MS, ended * MS);
        let error = Some("status 503".into());
        ServedRequest { scheduled_ns, sent_ns: scheduled_ns, ended_ns, error, ..ServedRequest::default() }
    }

    fn load(first_token_ms: Option<f64>, per_token_ms: Option<f64>) -> Load {
        Load { arrivals_per_s: Some(10.0), requests: 3, first_token_ms, per_token_ms, ..Load::default() }
    }

    fn value(metric: Metric, requests: &[ServedRequest], load: &Load) -> Option<f64> {
        let sample = Sample { requests: requests.to_vec(), ..Sample::default() };
        let mut rows = Rows::default();
        rows.push(Phase::Measure, &sample, None);
        of_process(metric, &rows.iter(), load)
    }

    #[test]
    fn goodput_counts_what_was_in_time_over_the_whole_time() {
        // The second was sent late, and its wait counts; the third has slow tokens; the fourth failed.
        let requests = [
            request(0.0, 0.0, 50.0, 80.0),
            request(10.0, 100.0, 150.0, 180.0),
            request(20.0, 20.0, 60.0, 500.0),
            failed(30.0, 31.0),
        ];
        let good = |first, per| value(Metric::Goodput, &requests, &load(first, per)).unwrap();
        assert!((good(None, None) - 3.0 / 0.5).abs() < 1e-9, "{}", good(None, None));
        assert!((good(Some(100.0), None) - 2.0 / 0.5).abs() < 1e-9, "a request that waits to be sent has waited");
        assert!((good(Some(100.0), Some(20.0)) - 1.0 / 0.5).abs() < 1e-9);
        assert!(good(Some(1.0), None).abs() < 1e-9, "none is a number too");
    }

    #[test]
    fn a_request_that_failed_is_later_than_every_other() {
        let requests = [request(0.0, 0.0, 50.0, 80.0), request(10.0, 10.0, 40.0, 70.0), failed(30.0, 31.0)];
        let load = load(None, None);
        assert_eq!(value(Metric::TimeToFirstTokenP50, &requests, &load), Some(50.0 * MS), "30, 50 and never");
        assert_eq!(value(Metric::TimeToFirstTokenP99, &requests, &load), None);
        assert_eq!(value(Metric::TimeToFirstToken, &requests, &load), None);
        assert_eq!(value(Metric::TimeToFirstToken, &requests[..2], &load), Some(40.0 * MS));
        assert_eq!(value(Metric::InterTokenLatencyP50, &requests, &load), Some(10.0 * MS));
        assert_eq!(value(Metric::InterTokenLatencyP99, &requests, &load), None);
        let rate = value(Metric::OutputRate, &requests, &load).unwrap();
        assert!((rate - 8.0 / 0.08).abs() < 1e-9, "{rate}");
    }

    #[test]
    fn percentiles_are_observed_values() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([0.5, 0.99].map(|share| percentile(hundred.clone(), share)), [Some(50.0), Some(99.0)]);
        assert_eq!(percentile(vec![7.0], 0.99), Some(7.0));
        assert_eq!(percentile(Vec::new(), 0.5), None);
    }
}

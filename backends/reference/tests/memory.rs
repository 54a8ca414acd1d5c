//! Streamed weights do not stay in memory. One test alone in its process: the peak that it reads is the process's.

mod support;

use qa_protocol::Worker as _;
use serde_json::json;
use support::prepare;

/// `tiny-coder` takes 22 MiB as f32, of which no more than 4 are in use at once.
#[test]
fn streaming_keeps_the_peak_low() {
    let peak = |limit: u64| {
        let mut worker = qa_reference::worker();
        let prepared = worker.prepare(&prepare(json!({ "memory_limit_bytes": limit, "threads": 1 }))).unwrap();
        let mut peak = prepared.memory.host_peak_bytes;
        let request = support::decode_request(8, 2);
        worker
            .run(&request, &mut |sample| {
                peak = sample.memory.host_peak_bytes;
                Ok(())
            })
            .unwrap();
        (prepared.resolved["streamed_layers"].clone(), peak.unwrap())
    };
    // In this order, for a peak never falls.
    let (streamed, low) = peak(0);
    let (resident, high) = peak(1 << 30);
    assert_eq!((streamed, resident), (json!(6), json!(0)));
    assert!(high > low + (12 << 20), "{low} bytes streamed, {high} resident");
}

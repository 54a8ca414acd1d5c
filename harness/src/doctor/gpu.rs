//! Driver, cards, NVRTC and CUPTI.

use super::{Finding, Topic};
use crate::environment;
use crate::run::gpu::{Cards as _, Nvml, Raw};
use qa_kernels::Nvrtc;
use qa_native::Gpu;
use std::collections::BTreeMap;
use std::fs;

/// Devices that the driver is reached through; who may not open them sees no card.
const DEVICES: [&str; 2] = ["/dev/nvidiactl", "/dev/nvidia-uvm"];

pub(super) fn examine() -> Vec<Finding> {
    let driver = qa_native::gpu::driver().map_err(|e| e.to_string());
    let here = driver.is_ok();
    let mut findings = vec![judge_driver(driver.map(|()| Gpu::driver_version()), &closed_devices())];
    if here {
        findings.extend(cards());
    } else {
        findings.push(Finding::missing(Topic::Card, "none, without a driver", DRIVER_MEND));
    }
    findings.push(judge_nvrtc(
        Nvrtc::find(None).map(|nvrtc| (nvrtc.version(), nvrtc.path().display().to_string())).map_err(|e| e.to_string()),
    ));
    findings.push(judge_cupti(qa_native::cupti_version()));
    findings
}

const DRIVER_MEND: &str =
    "install the NVIDIA driver (`nvidia-smi` then lists the card); in a container, start it with `--gpus all`";

/// Devices of the driver that are there and may not be opened.
fn closed_devices() -> Vec<&'static str> {
    let closed = |path: &&str| {
        let opened = fs::OpenOptions::new().read(true).write(true).open(path);
        opened.is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
    };
    DEVICES.into_iter().filter(closed).collect()
}

fn judge_driver(driver: Result<Option<String>, String>, closed: &[&str]) -> Finding {
    match driver {
        Err(problem) => Finding::missing(Topic::Driver, problem, DRIVER_MEND),
        Ok(_) if !closed.is_empty() => Finding::missing(
            Topic::Driver,
            format!("it is here, but this user may not open {}", closed.join(" and ")),
            format!("sudo chmod a+rw {}   (or add this user to the group that owns them)", closed.join(" ")),
        ),
        Ok(version) => {
            Finding::ok(Topic::Driver, version.unwrap_or_else(|| "here; its version is not told".to_owned()))
        }
    }
}

/// One finding a card, as NVML reads it now.
fn cards() -> Vec<Finding> {
    let nvml = Nvml::default();
    let uuids = match nvml.uuids() {
        Ok(uuids) if uuids.is_empty() => {
            return vec![Finding::missing(
                Topic::Card,
                "the driver sees no card",
                "look at `nvidia-smi` and at CUDA_VISIBLE_DEVICES",
            )];
        }
        Ok(uuids) => uuids,
        Err(problem) => {
            return vec![Finding::warning(
                Topic::Card,
                format!("its state cannot be read, so claims about clocks and memory are BLOCKED. {problem}"),
                "install the driver's management library, libnvidia-ml.so.1, of the driver's own version",
            )];
        }
    };
    let known = environment::gpus();
    let one = |uuid: &String| {
        let names = known.iter().find(|gpu| gpu.get("uuid") == Some(uuid));
        match nvml.card(uuid) {
            Ok(mut card) => judge_card(uuid, names, &card.read()),
            Err(problem) => Finding::warning(Topic::Card, problem, "look at `nvidia-smi -q`"),
        }
    };
    uuids.iter().map(one).collect()
}

fn judge_card(uuid: &str, names: Option<&BTreeMap<String, String>>, now: &Raw) -> Finding {
    let mut words = vec![names.and_then(|names| names.get("name")).map_or(uuid, String::as_str).to_owned()];
    words.extend(now.sm_mhz.map(|mhz| format!("{mhz} MHz")));
    words.extend(now.temperature_c.map(|c| format!("{c} C")));
    words.extend(now.power_w.map(|w| format!("{w:.0} W")));
    words.extend(now.used_bytes.map(|bytes| format!("{} MB in use", bytes / 1_000_000)));
    let others = now.processes.as_ref().map_or(0, Vec::len);
    let throttled: Vec<&str> =
        now.limits.iter().flatten().filter(|limit| limit.throttles()).map(|limit| limit.words()).collect();
    let found = words.join(", ");
    if others > 0 {
        let plural = if others == 1 { "process computes" } else { "processes compute" };
        return Finding::warning(
            Topic::Card,
            format!("{found}; {others} other {plural} there, and what is timed beside them is INVALID"),
            "end them, or wait: `nvidia-smi` lists them",
        );
    }
    if !throttled.is_empty() {
        return Finding::warning(
            Topic::Card,
            format!("{found}; slowed now by {}", throttled.join(", ")),
            "see to cooling and power, or lock clocks that it can hold: `sudo nvidia-smi --lock-gpu-clocks=MHZ`",
        );
    }
    Finding::ok(Topic::Card, found)
}

fn judge_nvrtc(found: Result<((u32, u32), String), String>) -> Finding {
    match found {
        Ok(((major, minor), path)) => Finding::ok(Topic::Nvrtc, format!("{major}.{minor}, {path}")),
        Err(problem) => {
            Finding::missing(Topic::Nvrtc, problem, "pip install nvidia-cuda-nvrtc   (or point QA_NVRTC at its folder)")
        }
    }
}

fn judge_cupti(found: Result<u32, String>) -> Finding {
    match found {
        Ok(version) => Finding::ok(Topic::Cupti, format!("API version {version}")),
        Err(problem) => {
            Finding::missing(Topic::Cupti, problem, "pip install nvidia-cuda-cupti   (or point QA_CUPTI at its folder)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::samples::ClockLimit;

    #[test]
    fn a_driver_may_be_absent_or_closed_to_this_user() {
        assert_eq!(judge_driver(Ok(Some("580.1".into())), &[]).state, State::Ok);
        let closed = judge_driver(Ok(None), &["/dev/nvidiactl"]);
        assert_eq!(closed.state, State::Missing);
        assert!(closed.mend.unwrap().contains("chmod a+rw /dev/nvidiactl"));
        let absent = judge_driver(Err("no NVIDIA driver".into()), &[]);
        assert_eq!((absent.state, absent.found.as_str()), (State::Missing, "no NVIDIA driver"));
    }

    #[test]
    fn a_card_that_is_shared_or_slowed_is_warned_of() {
        let names = BTreeMap::from([("name".to_owned(), "NVIDIA H100".to_owned())]);
        let judge = |now: Raw| judge_card("GPU-1", Some(&names), &now);
        let quiet = judge(Raw {
            sm_mhz: Some(1980),
            limits: Some(vec![ClockLimit::Idle]),
            processes: Some(vec![]),
            ..Raw::default()
        });
        assert_eq!((quiet.state, quiet.found.as_str()), (State::Ok, "NVIDIA H100, 1980 MHz"));
        let shared = judge(Raw { processes: Some(vec![(7, None)]), ..Raw::default() });
        assert!(shared.state == State::Warning && shared.found.contains("1 other process computes"), "{shared:?}");
        let slowed = judge(Raw { limits: Some(vec![ClockLimit::HardwareThermal]), ..Raw::default() });
        assert!(slowed.state == State::Warning && slowed.found.contains("slowed now by"), "{slowed:?}");
        assert_eq!(judge_card("GPU-1", None, &Raw::default()).found, "GPU-1");
    }

    #[test]
    fn what_is_missing_comes_with_the_line_that_mends_it() {
        for finding in [judge_nvrtc(Err("not found".into())), judge_cupti(Err("not found".into()))] {
            assert_eq!(finding.state, State::Missing);
            assert!(finding.mend.unwrap().starts_with("pip install nvidia-cuda-"), "{:?}", finding.topic);
        }
        assert_eq!(judge_nvrtc(Ok(((13, 5), "/x/libnvrtc.so".into()))).found, "13.5, /x/libnvrtc.so");
        assert_eq!(judge_cupti(Ok(26)).state, State::Ok);
    }
}

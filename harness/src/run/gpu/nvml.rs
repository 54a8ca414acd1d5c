//! Cards through NVML, the driver's management library.

use super::{Card, Cards, Raw};
use crate::samples::ClockLimit;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use std::sync::OnceLock;

/// The cards that the driver manages. The library is loaded when it is first asked, and stays: it keeps the driver awake.
#[derive(Debug, Default)]
pub struct Nvml(OnceLock<Result<nvml_wrapper::Nvml, String>>);

impl Nvml {
    fn library(&self) -> Result<&nvml_wrapper::Nvml, String> {
        self.0.get_or_init(|| nvml_wrapper::Nvml::init().map_err(|e| unavailable(&e))).as_ref().map_err(Clone::clone)
    }
}

fn unavailable(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) => {
            "The driver's management library (libnvidia-ml.so.1) is not here; it comes with the NVIDIA driver.".into()
        }
        other => format!("The driver's management library (NVML) does not work here: {other}."),
    }
}

impl Cards for Nvml {
    fn uuids(&self) -> Result<Vec<String>, String> {
        let nvml = self.library()?;
        let uuids = (0..nvml.device_count().map_err(|e| unavailable(&e))?)
            .map(|index| nvml.device_by_index(index)?.uuid())
            .collect::<Result<_, _>>();
        uuids.map_err(|e| unavailable(&e))
    }

    fn card(&self, uuid: &str) -> Result<Box<dyn Card + '_>, String> {
        let device = self.library()?.device_by_uuid(uuid);
        Ok(Box::new(Device(device.map_err(|e| format!("NVML does not know the card {uuid}: {e}."))?)))
    }
}

struct Device<'a>(nvml_wrapper::Device<'a>);

impl Card for Device<'_> {
    fn read(&mut self) -> Raw {
        let Self(device) = self;
        Raw {
            sm_mhz: device.clock_info(Clock::SM).ok(),
            memory_mhz: device.clock_info(Clock::Memory).ok(),
            limits: device.current_throttle_reasons().ok().map(limits),
            power_w: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
            temperature_c: device.temperature(TemperatureSensor::Gpu).ok(),
            used_bytes: device.memory_info().ok().map(|memory| memory.used),
            processes: device.running_compute_processes().ok().map(|listed| listed.iter().map(process).collect()),
        }
    }
}

fn process(info: &ProcessInfo) -> (u32, Option<u64>) {
    let used = match info.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    };
    (info.pid, used)
}

fn limits(reasons: ThrottleReasons) -> Vec<ClockLimit> {
    use ThrottleReasons as R;
    let table = [
        (R::GPU_IDLE, ClockLimit::Idle),
        (R::APPLICATIONS_CLOCKS_SETTING, ClockLimit::ApplicationClocks),
        (R::DISPLAY_CLOCK_SETTING, ClockLimit::DisplayClocks),
        (R::SW_POWER_CAP, ClockLimit::PowerCap),
        (R::HW_SLOWDOWN, ClockLimit::HardwareSlowdown),
        (R::HW_THERMAL_SLOWDOWN, ClockLimit::HardwareThermal),
        (R::HW_POWER_BRAKE_SLOWDOWN, ClockLimit::PowerBrake),
        (R::SW_THERMAL_SLOWDOWN, ClockLimit::SoftwareThermal),
        (R::SYNC_BOOST, ClockLimit::SyncBoost),
    ];
    table.into_iter().filter(|(bit, _)| reasons.contains(*bit)).map(|(_, limit)| limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_driver_the_reason_is_a_sentence_and_no_panic() {
        let nvml = Nvml::default();
        match (nvml.uuids(), nvml.card("GPU-none")) {
            // On a machine with a driver the card of that name is not there all the same.
            (Ok(_), Err(why)) => assert!(why.contains("GPU-none"), "{why}"),
            (Err(list), Err(card)) => {
                assert_eq!(list, card);
                assert!(list.contains("management library") && list.ends_with('.'), "{list}");
            }
            (_, Ok(_)) => panic!("there is no such card"),
        }
    }

    #[test]
    fn reasons_are_read_bit_by_bit_and_only_some_of_them_throttle() {
        assert_eq!(limits(ThrottleReasons::NONE), []);
        let found = limits(ThrottleReasons::GPU_IDLE | ThrottleReasons::APPLICATIONS_CLOCKS_SETTING);
        assert_eq!(found, [ClockLimit::Idle, ClockLimit::ApplicationClocks]);
        assert!(!found.iter().any(|limit| limit.throttles()));
        let found = limits(ThrottleReasons::SW_POWER_CAP | ThrottleReasons::HW_THERMAL_SLOWDOWN);
        assert_eq!(found, [ClockLimit::PowerCap, ClockLimit::HardwareThermal]);
        assert!(found.iter().all(|limit| limit.throttles()));
    }
}

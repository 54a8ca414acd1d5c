//! What an error of the driver means to whoever ran into it.

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

/// The driver's name of an error and, where it is one that a user can do something about, what it means and what would
/// mend it. The driver is not asked: after a lost device it may not answer.
pub(super) fn words(error: DriverError) -> String {
    let name = format!("{:?}", error.0);
    match meaning(error.0) {
        Some(meaning) => format!("{name}: {meaning}"),
        None => name,
    }
}

fn meaning(result: CUresult) -> Option<&'static str> {
    use CUresult as C;
    Some(match result {
        C::CUDA_ERROR_OUT_OF_MEMORY => {
            "the card has no more memory free: close what else runs on it (`nvidia-smi` lists it), or use a smaller model or \
             context"
        }
        C::CUDA_ERROR_NO_DEVICE => "no card is visible: is it left out by CUDA_VISIBLE_DEVICES?",
        C::CUDA_ERROR_DEVICE_UNAVAILABLE => {
            "the card is busy or in exclusive mode: wait for the other process, or see its compute mode in `nvidia-smi -q`"
        }
        C::CUDA_ERROR_ECC_UNCORRECTABLE | C::CUDA_ERROR_NVLINK_UNCORRECTABLE => {
            "the card's hardware reports an error that it cannot correct; `nvidia-smi -q -d ECC` and the kernel's log (Xid) \
             tell more. The card has to be reset"
        }
        C::CUDA_ERROR_UNKNOWN | C::CUDA_ERROR_SYSTEM_NOT_READY | C::CUDA_ERROR_NOT_INITIALIZED => {
            "the device is lost to the driver: look for Xid in the kernel's log (`dmesg`), and reset the card or restart the \
             machine"
        }
        C::CUDA_ERROR_LAUNCH_TIMEOUT => {
            "a kernel hung or ran for longer than the system lets it: cards that drive a display have such a limit"
        }
        C::CUDA_ERROR_ILLEGAL_ADDRESS
        | C::CUDA_ERROR_MISALIGNED_ADDRESS
        | C::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | C::CUDA_ERROR_INVALID_PC
        | C::CUDA_ERROR_HARDWARE_STACK_ERROR
        | C::CUDA_ERROR_LAUNCH_FAILED => {
            "a kernel broke, and took this process's use of the card with it: `qa selftest gpu` tells whether it does so again"
        }
        C::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH | C::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "the driver's library and the kernel's module are of different versions: restart the machine after an update"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use qa_protocol::{Failure, FailureKind};

    #[test]
    fn what_happens_to_a_card_is_said_with_what_would_mend_it() {
        use CUresult as C;
        for (result, kind, says) in [
            (C::CUDA_ERROR_OUT_OF_MEMORY, FailureKind::Failed, "close what else runs on it"),
            (C::CUDA_ERROR_UNKNOWN, FailureKind::Failed, "the device is lost to the driver: look for Xid"),
            (C::CUDA_ERROR_ECC_UNCORRECTABLE, FailureKind::Failed, "has to be reset"),
            (C::CUDA_ERROR_LAUNCH_TIMEOUT, FailureKind::Failed, "a kernel hung"),
            (C::CUDA_ERROR_ILLEGAL_ADDRESS, FailureKind::Failed, "a kernel broke"),
            (C::CUDA_ERROR_DEVICE_UNAVAILABLE, FailureKind::Failed, "exclusive mode"),
        ] {
            let failure = Failure::from(Error::from(DriverError(result)));
            assert_eq!(failure.kind, kind, "{failure}");
            assert!(failure.message.contains(&format!("{result:?}: ")) && failure.message.contains(says), "{failure}");
        }
        let plain = Failure::from(Error::from(DriverError(C::CUDA_ERROR_INVALID_VALUE)));
        assert_eq!(plain.message, "the CUDA driver: CUDA_ERROR_INVALID_VALUE");
    }

    #[test]
    fn memory_that_cannot_be_had_blocks_and_is_not_tried_again() {
        let source = DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        let failure = Failure::from(Error::Memory { bytes: 7_000_000, source });
        assert_eq!(failure.kind, FailureKind::Blocked);
        assert!(failure.message.starts_with("7000000 bytes of GPU memory cannot be had: CUDA_ERROR_OUT_OF_MEMORY: "));
        assert!(failure.message.contains("a smaller model"), "{failure}");
    }

    #[test]
    fn a_kernel_that_hangs_is_given_up_as_a_fault_of_the_worker() {
        let failure = Failure::from(Error::Barrier);
        assert_eq!(failure.kind, FailureKind::Failed);
        assert!(failure.message.contains("worthless"), "{failure}");
    }
}

//! The machine, as Linux tells it. Other systems tell nothing here.

/// Memory that this process may hope to use, in bytes: that of the machine, or of its control group if less.
pub fn physical_bytes() -> Option<u64> {
    let machine = proc_field(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:");
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}

/// Peak resident set of this process so far, in bytes.
pub fn peak_resident_bytes() -> Option<u64> {
    proc_field(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The processor's marketing name.
pub fn processor_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The value of a line such as `VmHWM:      1234 kB`, in bytes.
fn proc_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_in_bytes() {
        let text = "VmPeak:\t  99 kB\nVmHWM:\t    1234 kB\n";
        assert_eq!(proc_field(text, "VmHWM:"), Some(1234 * 1024));
        assert_eq!(proc_field(text, "VmRSS:"), None);
        assert_eq!(proc_field("VmHWM: many kB", "VmHWM:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_follows_an_allocation() {
        let before = peak_resident_bytes().unwrap();
        let block = std::hint::black_box(vec![1_u8; 256 << 20]);
        assert!(peak_resident_bytes().unwrap() >= before.max(block.len() as u64));
        assert!(physical_bytes().unwrap() > block.len() as u64);
    }
}

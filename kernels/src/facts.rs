//! What the compiler says of a kernel, out of its log (`--ptxas-options=-v`).

/// Resources of a compiled kernel, the functions that it calls included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Entry point.
    pub entry: String,
    /// Registers a thread.
    pub registers: u32,
    /// Bytes a thread that went to local memory for lack of registers.
    pub spill_bytes: u32,
    /// Static shared memory a block, in bytes.
    pub shared_bytes: u32,
    /// Hardware barriers in use.
    pub barriers: u32,
}

impl Facts {
    /// Reads a log of one entry point; `None` where it is no such log.
    pub(crate) fn from_log(log: &str) -> Option<Self> {
        let entry = log.split("entry function '").nth(1)?.split('\'').next()?.to_owned();
        let used = log.lines().find(|line| line.contains(" registers"))?;
        let spills = log.lines().filter_map(|line| before(line, " bytes spill stores")).sum();
        Some(Self {
            entry,
            registers: before(used, " registers")?,
            spill_bytes: spills,
            shared_bytes: before(used, " bytes smem").unwrap_or(0),
            barriers: before(used, " barriers").unwrap_or(0),
        })
    }
}

/// The number that stands before some words.
fn before(line: &str, words: &str) -> Option<u32> {
    let (head, _) = line.split_once(words)?;
    head.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_a_kernel_that_calls_functions() {
        let log = "ptxas info    : 138 bytes gmem\n\
            ptxas info    : Compiling entry function 'decode' for 'sm_90a'\n\
            ptxas info    : Function properties for decode\n\
            ptxas         .     24 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads\n\
            ptxas info    : Used 128 registers, used 1 barriers, 24 bytes cumulative stack size, 5424 bytes smem\n\
            ptxas info    : Function properties for phase\n\
            ptxas         .     0 bytes stack frame, 328 bytes spill stores, 360 bytes spill loads\n";
        let facts = Facts::from_log(log).unwrap();
        let expected =
            Facts { entry: "decode".into(), registers: 128, spill_bytes: 332, shared_bytes: 5424, barriers: 1 };
        assert_eq!(facts, expected);
        assert_eq!(Facts::from_log("nothing"), None);
    }
}

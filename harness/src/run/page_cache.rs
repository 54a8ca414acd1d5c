//! A file in the kernel's page cache or out of it, and how much of it the kernel has there then.

use crate::spec::PageCache;
use std::path::Path;

/// Have a file read into the page cache, or dropped from it. Answers the share of its pages that are there then, which need not
/// be what was asked: what a process maps is not dropped, and a file system in memory has no other place for it.
///
/// # Errors
/// A sentence, where the file cannot be read or the kernel does not tell what of it is there.
#[cfg(target_os = "linux")]
pub(super) fn set(path: &Path, asked: PageCache) -> Result<f64, String> {
    linux::set(path, asked)
}

/// Elsewhere the page cache can be neither set nor asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn set(_: &Path, _: PageCache) -> Result<f64, String> {
    Err("only Linux can be asked what of a file is in its page cache".into())
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{PageCache, Path};
    use memmap2::Mmap;
    use rustix::fs::{Access, Advice, access, fadvise};
    use rustix::process::geteuid;
    use std::fs::File;
    use std::io::{self, BufReader};
    use std::os::unix::fs::MetadataExt as _;

    pub(super) fn set(path: &Path, asked: PageCache) -> Result<f64, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        match asked {
            PageCache::Warm => io::copy(&mut BufReader::with_capacity(1 << 20, &file), &mut io::sink()).map(drop),
            PageCache::Cold => drop_pages(&file),
        }
        .map_err(|e| e.to_string())?;
        if !tells(path, &file) {
            return Err(
                "the kernel tells only its owner, or who may write to it, what of it is in the page cache".into()
            );
        }
        resident(&file).map_err(|e| e.to_string())
    }

    fn drop_pages(file: &File) -> io::Result<()> {
        // Pages that wait to be written are not dropped. Where the system cannot write them there are none; what then is
        // resident is asked in any case.
        let _ = file.sync_data();
        Ok(fadvise(file, 0, None, Advice::DontNeed)?)
    }

    /// Whether the kernel says what is there: since Linux 5.2 it tells everybody else that all of a file is.
    fn tells(path: &Path, file: &File) -> bool {
        let me = geteuid();
        me.is_root()
            || file.metadata().is_ok_and(|about| about.uid() == me.as_raw())
            || access(path, Access::WRITE_OK).is_ok()
    }

    /// The share of a file's pages that are in the page cache (`mincore`).
    pub(super) fn resident(file: &File) -> io::Result<f64> {
        // SAFETY: the mapping is asked about and never read, so whoever changes the file changes nothing here.
        let map = unsafe { Mmap::map(file) }?;
        let mut pages = vec![0_u8; map.len().div_ceil(rustix::param::page_size())];
        // SAFETY: the range is that of a mapping that lives until after the call, which writes one byte for each of its pages.
        let answer = unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), pages.as_mut_ptr()) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        if pages.is_empty() {
            return Err(io::Error::other("it is empty"));
        }
        let there = pages.iter().filter(|page| **page & 1 == 1).count();
        Ok(there as f64 / pages.len() as f64)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use memmap2::Mmap;
    use std::fs::File;
    use std::path::PathBuf;
    use tempfile::TempDir;

    /// A file of 32 MB beside the test's program; nothing where that is a file system in memory.
    fn file() -> Option<(TempDir, PathBuf)> {
        let program = std::env::current_exe().unwrap();
        let dir = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let path = dir.path().join("model");
        std::fs::write(&path, vec![7_u8; 32 << 20]).unwrap();
        let kept = !in_memory(&path);
        if !kept {
            eprintln!("not tested: {} is a file system in memory, which keeps no page cache", path.display());
        }
        kept.then_some((dir, path))
    }

    fn in_memory(path: &Path) -> bool {
        const TMPFS: u64 = 0x0102_1994;
        const RAMFS: u64 = 0x8584_58f6;
        [TMPFS, RAMFS].contains(&(rustix::fs::statfs(path).unwrap().f_type as u64))
    }

    #[test]
    fn a_file_is_where_it_was_asked_to_be() {
        let Some((_dir, path)) = file() else { return };
        // It was just written: what is not on the disk yet is dropped too.
        for (asked, expected) in
            [(PageCache::Cold, 0.0..=0.01), (PageCache::Warm, 1.0..=1.0), (PageCache::Cold, 0.0..=0.01)]
        {
            let share = set(&path, asked).unwrap();
            assert!(expected.contains(&share), "{asked:?}: {share}");
        }
        // To ask is not to read.
        let file = File::open(&path).unwrap();
        assert!(linux::resident(&file).unwrap() < 0.01);
    }

    #[test]
    fn what_somebody_maps_stays_and_is_told() {
        let Some((_dir, path)) = file() else { return };
        set(&path, PageCache::Warm).unwrap();
        // SAFETY: nobody writes to the file.
        let map = unsafe { Mmap::map(&File::open(&path).unwrap()) }.unwrap();
        let half = map.len() / 2;
        assert_eq!(map[..half].iter().step_by(1024).map(|byte| u64::from(*byte)).sum::<u64>(), 7 * half as u64 / 1024);
        let share = set(&path, PageCache::Cold).unwrap();
        assert!((0.45..0.6).contains(&share), "half of it is mapped and was read: {share}");
        drop(map);
        assert!(set(&path, PageCache::Cold).unwrap() < 0.01);
    }

    #[test]
    fn a_file_in_memory_has_no_other_place() {
        let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
        let path = dir.path().join("model");
        std::fs::write(&path, vec![7_u8; 1 << 20]).unwrap();
        if in_memory(&path) {
            assert_eq!(set(&path, PageCache::Cold), Ok(1.0));
        }
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        assert!(set(&path, PageCache::Warm).unwrap_err().contains("No such file"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(set(&path, PageCache::Cold), Err("it is empty".into()));
    }
}

//! Where NVRTC is: in a CUDA toolkit, in the `nvidia` packages of a Python environment, or where [`VARIABLE`] says.

use crate::nvrtc::{Nvrtc, NvrtcError, VARIABLE};
use std::path::{Path, PathBuf};

/// Majors that are looked for, newest first.
const MAJORS: [u32; 2] = [13, 12];

/// Folders of a toolkit that hold libraries, from its root. CUPTI has one of its own.
const OF_A_TOOLKIT: [&str; 3] = ["lib64", "targets/x86_64-linux/lib", "extras/CUPTI/lib64"];

/// Folders that may hold libraries of CUDA: toolkits, then Python environments of the `PATH`.
pub fn library_folders() -> Vec<PathBuf> {
    Places::of_process().folders()
}

/// Files of a folder whose names begin so, in order: a library in its versions.
pub fn libraries_named(folder: &Path, name: &str) -> Vec<PathBuf> {
    entries(folder, name).collect()
}

/// Where to look.
#[derive(Debug, Default)]
struct Places {
    /// A library or its folder, before anything else and in place of it.
    named: Option<PathBuf>,
    /// Whether the system's loader is asked.
    system: bool,
    /// Roots of toolkits.
    toolkits: Vec<PathBuf>,
    /// Roots of Python environments.
    environments: Vec<PathBuf>,
}

impl Nvrtc {
    /// The NVRTC that [`VARIABLE`] names, of the system, of a CUDA toolkit, or of a Python environment on the `PATH`; of a
    /// major version of at most `newest`, the driver's, where that is given.
    ///
    /// # Errors
    /// [`NvrtcError`] with what would mend it.
    pub fn find(newest: Option<u32>) -> Result<Self, NvrtcError> {
        Places::of_process().find(newest)
    }
}

impl Places {
    fn of_process() -> Self {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let usual = ["/usr/local/cuda", "/usr/local/cuda-13", "/usr/local/cuda-12"].map(PathBuf::from);
        let bins: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
        let of_bin = |bin: PathBuf| bin.join("python3").exists().then(|| bin.parent().map(Path::to_owned)).flatten();
        Self {
            named: path(VARIABLE),
            system: true,
            toolkits: [path("CUDA_HOME"), path("CUDA_PATH")].into_iter().flatten().chain(usual).collect(),
            environments: path("VIRTUAL_ENV").into_iter().chain(bins.into_iter().filter_map(of_bin)).collect(),
        }
    }

    fn find(&self, newest: Option<u32>) -> Result<Nvrtc, NvrtcError> {
        if let Some(path) = &self.named {
            return named(path, newest);
        }
        let serves = |major: u32| newest.is_none_or(|newest| major <= newest);
        let system = MAJORS.iter().filter(|_| self.system).map(|major| PathBuf::from(format!("libnvrtc.so.{major}")));
        let libraries = system.chain(self.folders().into_iter().flat_map(|folder| libraries_in(&folder)));
        let mut newer = None;
        for found in libraries.filter_map(|path| Nvrtc::load(&path).ok()) {
            match refusal(&found, newest) {
                Some(refused) => newer = newer.or(Some(refused)),
                None if MAJORS.contains(&found.version().0) => return Ok(found),
                None => {}
            }
        }
        let serving = MAJORS.into_iter().find(|&major| serves(major)).unwrap_or(MAJORS[MAJORS.len() - 1]);
        Err(newer.unwrap_or_else(|| NvrtcError::Missing { package: package(serving) }))
    }

    /// Folders that may hold the library: toolkits, then Python environments.
    fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> =
            self.toolkits.iter().flat_map(|root| OF_A_TOOLKIT.map(|folder| root.join(folder))).collect();
        for environment in &self.environments {
            for python in entries(&environment.join("lib"), "python3") {
                for packages in ["site-packages", "dist-packages"] {
                    // `cuda_nvrtc` up to CUDA 12, `cu13` from then on.
                    let nvidia = python.join(packages).join("nvidia");
                    folders.extend(entries(&nvidia, "cu").map(|package| package.join("lib")));
                }
            }
        }
        folders
    }
}

/// The package that holds a major version.
fn package(major: u32) -> String {
    if major >= 13 { format!("nvidia-cuda-nvrtc=={major}.*") } else { format!("nvidia-cuda-nvrtc-cu{major}") }
}

fn named(path: &Path, newest: Option<u32>) -> Result<Nvrtc, NvrtcError> {
    let candidates = if path.is_dir() { libraries_in(path).collect() } else { vec![path.to_owned()] };
    let error = |reason| NvrtcError::Variable { path: path.to_owned(), reason };
    let mut last = error("no libnvrtc.so in it".to_owned());
    for candidate in candidates {
        match Nvrtc::load(&candidate) {
            Ok(found) => match refusal(&found, newest) {
                None => return Ok(found),
                Some(refused) => last = refused,
            },
            Err(e) => last = error(e.to_string()),
        }
    }
    Err(last)
}

/// Why a library is not used: the driver cannot load what it makes.
fn refusal(found: &Nvrtc, newest: Option<u32>) -> Option<NvrtcError> {
    let (major, newest) = (found.version().0, newest?);
    let path = found.path().to_owned();
    (major > newest).then(|| NvrtcError::Newer { path, major, newest, package: package(newest) })
}

fn libraries_in(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    entries(folder, "libnvrtc.so")
}

/// Entries of a folder whose names begin so, in order; none where it cannot be read.
fn entries(folder: &Path, prefix: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let begins = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).filter(begins).collect();
    paths.sort();
    paths.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A library that says it is NVRTC of a version, in a folder that is made; `None` where there is no C compiler.
    fn library(folder: &Path, major: u32) -> Option<PathBuf> {
        std::fs::create_dir_all(folder).unwrap();
        let (source, library) = (folder.join("version.c"), folder.join(format!("libnvrtc.so.{major}")));
        let code = format!("int nvrtcVersion(int *major, int *minor) {{ *major = {major}; *minor = 1; return 0; }}");
        std::fs::write(&source, code).unwrap();
        let mut compiler = Command::new("cc");
        let status = compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("skipped: there is no C compiler");
            return None;
        }
        Some(library)
    }

    fn found(places: &Places, newest: Option<u32>) -> (u32, PathBuf) {
        let found = places.find(newest).unwrap_or_else(|e| panic!("{e}"));
        (found.version().0, found.path().to_owned())
    }

    #[test]
    fn it_is_found_in_a_toolkit_and_in_both_layouts_of_python_packages() {
        let root = tempfile::tempdir().unwrap();
        let layouts = [
            ("toolkit/lib64", 13),
            ("old/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib", 12),
            ("new/lib/python3.12/dist-packages/nvidia/cu13/lib", 13),
        ];
        for (folder, major) in layouts {
            let Some(library) = library(&root.path().join(folder), major) else { return };
            let begin = root.path().join(folder.split('/').next().unwrap());
            let places = if folder.starts_with("toolkit") {
                Places { toolkits: vec![begin], ..Places::default() }
            } else {
                Places { environments: vec![begin], ..Places::default() }
            };
            assert_eq!(found(&places, Some(13)), (major, library), "{folder}");
        }
        let environments = vec![root.path().join("new"), root.path().join("old")];
        let both = Places { toolkits: vec![root.path().join("toolkit")], environments, ..Places::default() };
        assert_eq!(found(&both, None).0, 13);
        assert_eq!(found(&both, Some(12)).0, 12, "the one that the driver serves is taken");
    }

    #[test]
    fn one_that_is_newer_than_the_driver_is_refused_by_name_wherever_it_is() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("lib64");
        let Some(library) = library(&folder, 13) else { return };
        let toolkit = Places { toolkits: vec![root.path().to_owned()], ..Places::default() };
        let named = |path: &Path| Places { named: Some(path.to_owned()), ..Places::default() };
        for places in [&toolkit, &named(&folder), &named(&library)] {
            let said = places.find(Some(12)).err().unwrap().to_string();
            assert!(said.contains(&format!("{} is NVRTC 13", library.display())), "{said}");
            assert!(said.contains("serves CUDA 12") && said.contains("`pip install nvidia-cuda-nvrtc-cu12`"), "{said}");
            assert_eq!(found(places, Some(13)).0, 13);
        }
    }

    #[test]
    fn a_missing_one_says_in_one_line_how_to_get_it() {
        let said = Places::default().find(Some(13)).err().unwrap().to_string();
        assert!(said.contains("`pip install nvidia-cuda-nvrtc==13.*`") && !said.contains('\n'), "{said}");
        let said = Places::default().find(Some(12)).err().unwrap().to_string();
        assert!(said.contains("`pip install nvidia-cuda-nvrtc-cu12`"), "{said}");
        let folder = tempfile::tempdir().unwrap();
        let empty = Places { named: Some(folder.path().to_owned()), ..Places::default() };
        let said = empty.find(None).err().unwrap().to_string();
        assert!(said.contains("QA_NVRTC is") && said.contains("no libnvrtc.so in it"), "{said}");
    }
}

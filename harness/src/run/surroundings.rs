//! What a program inherits. It runs in the specification's folder, so nothing may be looked up relative to where it runs:
//! what lies there is the author's choice, and not the user's.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lists of folders in which programs and libraries are looked up. Their relative folders, and the empty one, are left out.
const LISTS: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];
/// Places of programs and libraries. They are relative to where the user is.
const PLACES: [&str; 5] = ["QA_LLAMA_CPP", "QA_NVRTC", "CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV"];

/// Have a program look nothing up in the folder that it runs in.
pub(super) fn fix(command: &mut Command) {
    let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    for (name, value) in changed(&here, &|name| env::var_os(name)) {
        command.env(name, value);
    }
}

fn changed(here: &Path, variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<(&'static str, OsString)> {
    let lists = LISTS.iter().filter_map(|name| {
        let folders: Vec<PathBuf> = absolute_folders(&variable(name)?).collect();
        // Each came out of such a list, so they fit into one again.
        Some((*name, env::join_paths(folders).unwrap_or_default()))
    });
    let places = PLACES.iter().filter_map(|name| {
        let place = variable(name).filter(|place| !place.is_empty())?;
        Some((*name, here.join(place).into_os_string()))
    });
    lists.chain(places).collect()
}

/// The absolute folders of a list such as `PATH`.
pub(super) fn absolute_folders(list: &OsStr) -> impl Iterator<Item = PathBuf> + '_ {
    env::split_paths(list).filter(|folder| folder.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_relative_to_the_folder_of_a_specification() {
        let found = changed(Path::new("/home/user"), &|name| {
            Some(match name {
                "PATH" => "/usr/bin:.::tools:/bin".into(),
                "QA_LLAMA_CPP" => "llama".into(),
                "QA_NVRTC" => "/opt/nvrtc".into(),
                "CUDA_HOME" => OsString::new(),
                _ => return None,
            })
        });
        let expected: [(&str, OsString); 3] = [
            ("PATH", "/usr/bin:/bin".into()),
            ("QA_LLAMA_CPP", "/home/user/llama".into()),
            ("QA_NVRTC", "/opt/nvrtc".into()),
        ];
        assert_eq!(found, expected);
    }
}

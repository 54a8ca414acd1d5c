//! `qa init`: a first specification, from a model file and the engines that are here.

use super::fail;
use crate::environment::absolute;
use crate::exit;
use crate::starter::Surroundings;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Write a first specification from a model file and the engines that are here. Asks nothing; what it writes passes
/// `qa check` and can be run as it is.
#[derive(Clone, Debug, clap::Args)]
pub struct InitArgs {
    /// The model file (GGUF). When absent: the one that `QA_MODEL` names, else the newest here, in `models/`, or that
    /// llama.cpp or Hugging Face downloaded, else the small one inside `qa`.
    model: Option<PathBuf>,

    /// The file to write; `-` prints it.
    #[arg(long, short, value_name = "FILE", default_value = "qa.yaml")]
    out: PathBuf,

    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,

    /// Print what was written, about which model, and what is not here as JSON.
    #[arg(long)]
    json: bool,
}

/// Write; the words for the user are on standard error, so that `-o -` prints the specification alone.
pub fn run(args: &InitArgs) -> u8 {
    let folder = match std::env::current_dir() {
        Ok(folder) => folder,
        Err(e) => return fail(&e, exit::IO),
    };
    // Absolute, so that the file is found whatever folder the specification is written to.
    let model = args.model.as_deref().map(absolute);
    let around = match Surroundings::find(model.as_deref(), &folder) {
        Ok(around) => around,
        Err(e) => return fail(&e, exit::DATA),
    };
    let to_stdout = args.out.as_os_str() == "-";
    let target = if to_stdout { folder.join("qa.yaml") } else { absolute(&args.out) };
    let yaml = around.specification(target.parent().unwrap_or(Path::new("/")));
    if to_stdout {
        print!("{yaml}");
        return exit::OK;
    }
    if let Err(e) = write(&target, &yaml, args.force) {
        if e.kind() == io::ErrorKind::AlreadyExists {
            eprintln!("qa: {} is there already; --force replaces it, --out FILE writes another", args.out.display());
        } else {
            eprintln!("qa: cannot write {}: {e}", args.out.display());
        }
        return exit::IO;
    }
    let absent =
        [("llama.cpp", around.llama_cpp.is_none()), ("Ollama", around.ollama.is_none()), ("GPU", !around.native)];
    let absent: Vec<&str> = absent.into_iter().filter(|(_, absent)| *absent).map(|(name, _)| name).collect();
    let next = format!("qa run {}", args.out.display());
    if args.json {
        println!("{:#}", json!({ "file": args.out, "model": around.model.path, "absent": absent, "next": next }));
        return exit::OK;
    }
    let model = around.model.path.as_ref().map_or("the model inside qa".to_owned(), |path| path.display().to_string());
    eprintln!("wrote {} about {model}", args.out.display());
    if !absent.is_empty() {
        eprintln!("not here, so left out: {} (`qa doctor` says what mends it)", absent.join(", "));
    }
    println!("{next}");
    exit::OK
}

fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.write(true).open(path)?.write_all(text.as_bytes())
}

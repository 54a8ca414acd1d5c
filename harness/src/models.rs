//! The models of a specification as files: found, unpacked or made, and hashed once.

use crate::fetch::{self, Name};
use crate::plan::{ORACLE, Plan};
use crate::samples::{Identity, ModelFile};
use crate::spec::{EmbeddedModel, Model, Spec, Synthesize};
use qa_model::embedded;
use qa_model::inspect::Inspection;
use qa_model::synth::{self, SynthOptions};
use qa_model::{Gguf, hash};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Where models are looked for and put.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The folder that the specification's paths are relative to.
    pub base: &'a Path,
    /// The folder that models are unpacked and made in.
    pub cache: &'a Path,
}

/// The models that an arm other than those of `idle` needs, in any step.
pub fn needed<'a>(spec: &'a Spec, plan: &'a Plan, idle: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let busy = |arms: &mut dyn Iterator<Item = &'a str>| -> Vec<&'a str> {
        let arms: Vec<&str> = arms.collect();
        if arms.iter().any(|arm| idle.contains(arm)) { Vec::new() } else { arms }
    };
    let measured = plan.groups.iter().flat_map(|g| &g.claims).flat_map(|c| busy(&mut c.iter().map(String::as_str)));
    let scored = plan.scores.iter().flat_map(|s| busy(&mut [s.check.arm.as_str(), &s.check.against].into_iter()));
    let soaked = plan.soaks.iter().flat_map(|s| busy(&mut std::iter::once(s.check.of.as_str())));
    let arms: BTreeSet<&str> = measured.chain(scored).chain(soaked).filter(|arm| *arm != ORACLE).collect();
    arms.into_iter().filter_map(|arm| spec.arms.get(arm)?.model.as_deref()).collect()
}

/// Every model of a specification. Those that are not `needed` are neither looked for nor made; `say` hears what takes
/// long.
pub fn resolve(
    spec: &Spec,
    needed: &BTreeSet<&str>,
    places: Places<'_>,
    say: &mut dyn FnMut(&str),
) -> BTreeMap<String, ModelFile> {
    let mut resolver = Resolver { places, hashes: HashMap::new(), say };
    spec.models
        .iter()
        .map(|(name, model)| {
            let file = if needed.contains(name.as_str()) {
                resolver.one(name, model)
            } else {
                absent("", "no arm that could run needs it".into())
            };
            (name.clone(), file)
        })
        .collect()
}

fn absent(source: &str, problem: String) -> ModelFile {
    ModelFile {
        path: PathBuf::new(),
        identity: None,
        sha256: String::new(),
        bytes: 0,
        source: source.into(),
        problem: Some(problem),
        format: String::new(),
        bytes_per_token: 0,
        layers: None,
    }
}

struct Resolver<'a> {
    places: Places<'a>,
    hashes: HashMap<Identity, String>,
    say: &'a mut dyn FnMut(&str),
}

impl Resolver<'_> {
    fn one(&mut self, name: &str, model: &Model) -> ModelFile {
        let (source, found) = match model {
            Model { path: Some(path), .. } if fetch::is_name(path) => return self.named(path),
            Model { path: Some(path), .. } if !path.is_empty() => ("path", self.given(path)),
            Model { embedded: Some(which), .. } => ("embedded", self.unpacked(*which)),
            Model { synthesize: Some(recipe), .. } => ("synthesized", self.made(name, recipe)),
            _ => ("path", Err("its `path` is empty, and it has neither `embedded` nor `synthesize`".into())),
        };
        found.and_then(|path| self.inspected(path, source)).unwrap_or_else(|problem| absent(source, problem))
    }

    /// A file that goes by a name. It is the one that its store says it is, by hash.
    fn named(&mut self, name: &str) -> ModelFile {
        let found = Name::parse(name).and_then(|name| fetch::find(&name, &fetch::variable, self.say));
        let checked = found.and_then(|found| {
            let file = self.inspected(found.path.clone(), &found.source)?;
            found.check(&file.sha256).map(|()| file)
        });
        checked.unwrap_or_else(|problem| absent(name, problem))
    }

    fn given(&self, path: &str) -> Result<PathBuf, String> {
        let path = self.places.base.join(path);
        let found = fs::canonicalize(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        // To open a pipe is to wait for whoever writes to it.
        if found.is_file() { Ok(found) } else { Err(format!("{} is not a plain file", path.display())) }
    }

    fn unpacked(&self, which: EmbeddedModel) -> Result<PathBuf, String> {
        let asset = match which {
            EmbeddedModel::TinyCoder => &embedded::TINY_CODER,
        };
        embedded::materialize(asset.name, &self.places.cache.join("models")).map_err(|e| e.to_string())
    }

    /// Made once a recipe, whoever asks first; the others wait for it.
    fn made(&mut self, name: &str, recipe: &Synthesize) -> Result<PathBuf, String> {
        let options = SynthOptions {
            preset: recipe.preset.parse().map_err(|e: synth::UnknownPreset| e.to_string())?,
            quantization: recipe.quantization.parse().map_err(|e: synth::UnknownQuantization| e.to_string())?,
            seed: recipe.seed,
            threads: None,
        };
        let words = format!("{}-{}-{}", options.preset.name(), options.quantization.name(), options.seed);
        // Another version of `qa` may make other bytes of the same recipe.
        let recipe = hash::sha256_bytes(format!("{words} {}", env!("CARGO_PKG_VERSION")).as_bytes());
        let folder = self.places.cache.join("models");
        let path = folder.join(format!("{words}-{}.gguf", &recipe[..12]));
        let lock = path.with_extension("lock");
        let locked = fs::create_dir_all(&folder).and_then(|()| {
            let lock = File::create(&lock)?;
            lock.lock()?;
            Ok(lock)
        });
        let _locked = locked.map_err(|e| format!("cannot lock {}: {e}", lock.display()))?;
        if Gguf::open(&path).is_err() {
            (self.say)(&format!("making the synthetic model {name} ({words}) in {}", folder.display()));
            synth::write(&options, &path).map_err(|e| e.to_string())?;
        }
        Ok(path)
    }

    fn inspected(&mut self, path: PathBuf, source: &str) -> Result<ModelFile, String> {
        // Before anything is read, so that whatever changes from here on is seen.
        let identity = Identity::of(&path).ok();
        let gguf = Gguf::open(&path).map_err(|e| e.to_string())?;
        let sha256 = self.hash(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let inspection = Inspection::of(&gguf, sha256.clone());
        Ok(ModelFile {
            bytes: inspection.file_bytes,
            format: inspection.types.first().map(|t| t.dtype.to_string()).unwrap_or_default(),
            // An architecture that is not understood here may still be run by others; its roofline is not known.
            layers: inspection.model.as_ref().and_then(|m| u32::try_from(m.config.layers).ok()),
            bytes_per_token: inspection.model.map_or(0, |m| m.bytes_per_token_total),
            path,
            identity,
            sha256,
            source: source.into(),
            problem: None,
        })
    }

    fn hash(&mut self, path: &Path) -> io::Result<String> {
        let identity = Identity::of(path)?;
        if let Some(hash) = self.hashes.get(&identity) {
            return Ok(hash.clone());
        }
        if fs::metadata(path)?.len() > 1 << 30 {
            (self.say)(&format!("hashing {}", path.display()));
        }
        let hash = hash::sha256_file(path)?;
        self.hashes.insert(identity, hash.clone());
        Ok(hash)
    }
}

/// The folder for what can be made again: `$XDG_CACHE_HOME/qa`, or `~/.cache/qa`, or one under the temporary folder.
pub fn cache_folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    variable("XDG_CACHE_HOME")
        .or_else(|| Some(variable("HOME")?.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("qa")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "
apiVersion: qa/v1
name: test
models:
  embedded: { embedded: tiny-coder }
  same: { path: '', embedded: tiny-coder }
  made: { synthesize: { preset: tiny, quantization: q8_0, seed: 7 } }
  missing: { path: nowhere.gguf }
  nothing: { path: '' }
  garbage: { path: garbage.gguf }
  idle: { embedded: tiny-coder }
workloads: { decode: { prompt_tokens: 2, generate_tokens: 3 } }
arms:
  a: { backend: reference, model: embedded }
  b: { backend: reference, model: made }
  n: { backend: native, model: idle }
  o: { backend: llama-cpp, model: idle }
acceptance:
  - { id: A, title: t, require: { metric: decode_rate, of: a, over: b, at_least: 1 } }
  - { id: N, title: t, require: { metric: decode_rate, of: n, over: o, at_least: 1 } }
";

    #[test]
    fn a_model_is_found_unpacked_made_or_said_to_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("garbage.gguf"), "garbage").unwrap();
        let spec: Spec = serde_yaml::from_str(SPEC).unwrap();
        let cache = dir.path().join("cache");
        let places = Places { base: dir.path(), cache: &cache };
        let needed: BTreeSet<&str> = spec.models.keys().map(String::as_str).filter(|m| *m != "idle").collect();
        let mut said = Vec::new();
        let models = resolve(&spec, &needed, places, &mut |what| said.push(what.to_owned()));

        let embedded = &models["embedded"];
        assert_eq!((embedded.sha256.as_str(), embedded.source.as_str()), (embedded::TINY_CODER.sha256, "embedded"));
        assert!(embedded.path.is_file() && embedded.bytes > 1_000_000 && embedded.bytes_per_token > 1_000_000);
        assert_eq!(models["same"], *embedded);
        let made = &models["made"];
        assert_eq!(
            (made.source.as_str(), made.format.as_str(), made.problem.as_deref()),
            ("synthesized", "Q8_0", None)
        );
        assert_eq!(said.len(), 1, "{said:?}");
        for (name, problem) in [
            ("missing", "nowhere.gguf: No such file"),
            ("nothing", "its `path` is empty"),
            ("garbage", "garbage.gguf"),
            ("idle", "no arm that could run needs it"),
        ] {
            let found = models[name].problem.as_deref().unwrap();
            assert!(found.contains(problem), "{name}: {found}");
            assert_eq!(models[name].sha256, "");
        }

        let again = resolve(&spec, &needed, places, &mut |what| panic!("made once: {what}"));
        assert_eq!(again, models);
        fs::write(&made.path, "cut off").unwrap();
        let mended = &resolve(&spec, &needed, places, &mut |_| {})["made"];
        let same = ModelFile { identity: made.identity, ..mended.clone() };
        assert_eq!(same, *made, "mended, with the same bytes");
        assert_ne!(mended.identity, made.identity, "in another file");
    }

    #[test]
    fn a_model_is_needed_if_a_claim_without_idle_arms_uses_it() {
        let spec: Spec = serde_yaml::from_str(SPEC).unwrap();
        let plan = Plan::new(&spec).unwrap();
        assert_eq!(needed(&spec, &plan, &BTreeSet::new()), ["embedded", "idle", "made"].into());
        assert_eq!(needed(&spec, &plan, &BTreeSet::from(["n"])), ["embedded", "made"].into());
    }
}

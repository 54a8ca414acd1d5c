//! A run in one file: packed, carried, checked; and every way to tamper with it that we thought of.

use crate::support::{expect_exit, expect_says, qa, relinked, slower, trial, trial_with};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    let openssl = Command::new("openssl").arg("version").output().ok();
    vec![
        trial("evidence::a_packed_run_is_verified_without_its_folder", travels),
        trial("evidence::packing_twice_gives_the_same_bytes", same_bytes),
        trial("evidence::every_tampering_is_caught_and_named", tampered),
        trial("evidence::a_report_edited_by_hand_is_caught_in_the_folder", edited_report),
        trial("evidence::what_is_no_pack_is_refused", no_pack),
        trial_with("evidence::openssl_reads_the_keys_and_checks_the_signature", openssl, "openssl", |_| {
            openssl_agrees()
        }),
        trial("evidence::a_pack_that_unfolds_to_too_much_is_refused", too_large),
    ]
}

/// A finished run with its keys and its signed pack.
struct Packed {
    dir: TempDir,
}

impl Packed {
    fn new() -> Result<Self, Failed> {
        let packed = Self { dir: tempfile::tempdir()? };
        expect_exit(
            &qa().args(["run", "specs/selftest/verdict-pass.yaml", "--out"]).arg(packed.at("run")).output()?,
            0,
        )?;
        expect_exit(&qa().args(["key", "new"]).arg(packed.at("lab")).output()?, 0)?;
        let mut pack = qa();
        pack.arg("pack").arg(packed.at("run")).arg("--key").arg(packed.at("lab.key"));
        expect_says(&expect_exit(&pack.output()?, 0)?, "Acceptance met")?;
        Ok(packed)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn pack(&self) -> PathBuf {
        self.at("run.qa.tar.gz")
    }

    /// The pack's files in order.
    fn files(&self) -> Result<Vec<(String, Vec<u8>)>, Failed> {
        let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(self.pack())?));
        let mut files = Vec::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content)?;
            files.push((entry.path()?.to_string_lossy().into_owned(), content));
        }
        Ok(files)
    }

    /// Write other files in its place.
    fn replace(&self, files: &[(String, Vec<u8>)]) -> Result<(), Failed> {
        let mut archive = tar::Builder::new(GzEncoder::new(std::fs::File::create(self.pack())?, Compression::fast()));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, content.as_slice())?;
        }
        archive.into_inner()?.finish()?;
        Ok(())
    }

    fn verify(&self, key: Option<&str>) -> Result<std::process::Output, Failed> {
        let mut command = qa();
        command.arg("verify").arg(self.pack());
        if let Some(key) = key {
            command.arg("--key").arg(self.at(key));
        }
        Ok(command.output()?)
    }
}

fn travels() -> Result<(), Failed> {
    let packed = Packed::new()?;
    std::fs::remove_dir_all(packed.at("run"))?;
    let said = expect_exit(&packed.verify(Some("lab.pub"))?, 0)?;
    for line in [
        "ok         signature",
        "ok         files",
        "ok         samples",
        "ok         statement",
        "ok         report",
        "The samples say: Acceptance met",
    ] {
        expect_says(&said, line)?;
    }
    expect_says(&expect_exit(&packed.verify(None)?, 0)?, "unchecked  signature  said to be by")?;
    expect_exit(&qa().args(["key", "new"]).arg(packed.at("other")).output()?, 0)?;
    let said = expect_exit(&packed.verify(Some("other.pub"))?, 12)?;
    expect_says(&said, "MISMATCH   signature  not by the key that was given")?;
    let mut json = qa();
    let said = expect_exit(&json.args(["verify", "--json"]).arg(packed.pack()).output()?, 0)?;
    let said: Value = serde_json::from_str(&said)?;
    if said["holds"] != true || said["checks"].as_array().is_none_or(|checks| checks.len() != 5) {
        return Err(format!("not what a program expects: {said:#}").into());
    }
    Ok(())
}

fn same_bytes() -> Result<(), Failed> {
    let packed = Packed::new()?;
    let mut again = qa();
    again.arg("pack").arg(packed.at("run")).arg("--out").arg(packed.at("again")).arg("--key").arg(packed.at("lab.key"));
    expect_exit(&again.output()?, 0)?;
    if std::fs::read(packed.at("again"))? != std::fs::read(packed.pack())? {
        return Err("two packs of one run differ".into());
    }
    let refused = again.output()?;
    expect_exit(&refused, 74)?;
    expect_says(&String::from_utf8_lossy(&refused.stderr), "is there already")
}

fn of<'a>(files: &'a mut [(String, Vec<u8>)], name: &str) -> Result<&'a mut Vec<u8>, Failed> {
    files
        .iter_mut()
        .find(|(found, _)| found == name)
        .map(|(_, content)| content)
        .ok_or_else(|| format!("no {name}").into())
}

fn replaced(content: &mut Vec<u8>, from: &str, to: &str) -> Result<(), Failed> {
    let text = String::from_utf8(content.clone())?;
    if !text.contains(from) {
        return Err(format!("`{from}` is not there").into());
    }
    *content = text.replacen(from, to, 1).into_bytes();
    Ok(())
}

fn tampered() -> Result<(), Failed> {
    let packed = Packed::new()?;
    let whole = packed.files()?;
    let caught = |what: &str, files: &[(String, Vec<u8>)], key: Option<&str>, phrases: &[&str]| -> Result<(), Failed> {
        packed.replace(files)?;
        let said = expect_exit(&packed.verify(key)?, 12).map_err(|e| format!("{what}: {e:?}"))?;
        phrases.iter().try_for_each(|phrase| expect_says(&said, phrase))
    };

    let mut files = whole.clone();
    replaced(of(&mut files, "report.json")?, "\"verdict\": \"PASS\"", "\"verdict\": \"FAIL\"")?;
    let phrases = ["report.json is not the one that was stated", "it says \"FAIL\", the samples give \"PASS\""];
    caught("a verdict in the report", &files, None, &phrases)?;

    let mut files = whole.clone();
    replaced(of(&mut files, "report.html")?, "</html>", "<!-- --></html>")?;
    caught("a comment in the page", &files, None, &["report.html is not what these samples give"])?;

    let mut files = whole.clone();
    replaced(of(&mut files, "samples.jsonl")?, "\"decode_ns\":", "\"decode_ns\":1")?;
    caught("a number in the samples", &files, None, &["MISMATCH   samples", "changed after it was written"])?;

    let mut files = whole.clone();
    replaced(of(&mut files, "spec.yaml")?, "at_least: 1", "at_least: 0")?;
    caught("the claim", &files, None, &["spec.yaml was changed after the run"])?;

    let mut files = whole.clone();
    replaced(of(&mut files, "environment.json")?, "\"started_at\": \"2", "\"started_at\": \"3")?;
    caught("the date", &files, None, &["line 1: record 0: its hash does not follow"])?;

    let mut files = whole.clone();
    files.retain(|(name, _)| name != "events.jsonl");
    files.push(("more.txt".into(), b"x".to_vec()));
    caught(
        "a file for another",
        &files,
        None,
        &["events.jsonl is stated and missing", "more.txt is there and not stated"],
    )?;

    // Somebody slows the rival, links the chain anew, and keeps the old statement.
    let mut files = whole.clone();
    let lines = String::from_utf8(of(&mut files, "samples.jsonl")?.clone())?;
    let slowed: Vec<String> = lines.lines().map(slower).collect::<Result<_, _>>()?;
    *of(&mut files, "samples.jsonl")? = relinked(&packed.at("run"), &slowed)?;
    caught(
        "samples with a chain of their own",
        &files,
        None,
        &["MISMATCH   files", "MISMATCH   statement", "MISMATCH   report"],
    )?;

    // And somebody who packs all of it anew lacks the key.
    std::fs::write(packed.at("run/samples.jsonl"), relinked(&packed.at("run"), &slowed)?)?;
    std::fs::remove_file(packed.pack())?;
    expect_exit(&qa().arg("pack").arg(packed.at("run")).output()?, 0)?;
    expect_exit(&packed.verify(None)?, 0)?;
    let said = expect_exit(&packed.verify(Some("lab.pub"))?, 12)?;
    expect_says(&said, "there is none, and a key was given to check it with")
}

fn edited_report() -> Result<(), Failed> {
    let packed = Packed::new()?;
    let verify = || qa().arg("verify").arg(packed.at("run")).output();
    expect_says(&expect_exit(&verify()?, 0)?, "every number and verdict is what the samples give")?;
    for (file, from, to) in [
        ("report.json", "\"exit_code\": 0", "\"exit_code\": 1"),
        ("report.md", "PASS", "FAIL"),
        ("junit.xml", "failures=\"0\"", "failures=\"1\""),
    ] {
        let path = packed.at("run").join(file);
        let mut content = std::fs::read(&path)?;
        let before = content.clone();
        replaced(&mut content, from, to)?;
        std::fs::write(&path, content)?;
        expect_says(&expect_exit(&verify()?, 12)?, file)?;
        std::fs::write(&path, before)?;
    }
    Ok(())
}

fn no_pack() -> Result<(), Failed> {
    let packed = Packed::new()?;
    let refused = |phrase: &str| -> Result<(), Failed> {
        let output = packed.verify(None)?;
        expect_exit(&output, 65)?;
        expect_says(&String::from_utf8_lossy(&output.stderr), phrase)
    };
    let whole = std::fs::read(packed.pack())?;
    let files = packed.files()?;
    std::fs::write(packed.pack(), &whole[..whole.len() / 2])?;
    refused("it does not unfold as .tar.gz")?;
    std::fs::write(packed.pack(), "not a pack")?;
    refused("it does not unfold as .tar.gz")?;
    packed.replace(&files[1..])?;
    refused("there is no statement.json in it")?;
    packed.replace(&[files.clone(), files[1..2].to_vec()].concat())?;
    refused("is in it twice")?;
    std::fs::remove_file(packed.pack())?;
    refused("neither a run's folder nor a packed run")?;
    let output = qa().arg("pack").arg(packed.dir.path()).output()?;
    expect_exit(&output, 65)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "holds no run")
}

/// A later version may write a report differently; what was measured, and every verdict, stays.
fn openssl_agrees() -> Result<(), Failed> {
    let packed = Packed::new()?;
    let key = Command::new("openssl").args(["pkey", "-noout", "-text", "-in"]).arg(packed.at("lab.key")).output()?;
    expect_says(&expect_exit(&key, 0)?, "ED25519 Private-Key")?;
    let files = packed.files()?;
    let envelope: Value = serde_json::from_slice(&files[0].1)?;
    let decode = |text: &Value| -> Result<Vec<u8>, Failed> {
        use base64::Engine as _;
        Ok(base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap_or_default())?)
    };
    let payload = decode(&envelope["payload"])?;
    let kind = envelope["payloadType"].as_str().unwrap_or_default();
    let message = [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), &payload].concat();
    std::fs::write(packed.at("message"), message)?;
    std::fs::write(packed.at("signature"), decode(&envelope["signatures"][0]["sig"])?)?;
    let check = |name: &str| -> Result<std::process::Output, Failed> {
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-verify", "-pubin", "-rawin", "-inkey"]).arg(packed.at("lab.pub"));
        Ok(command.arg("-in").arg(packed.at(name)).arg("-sigfile").arg(packed.at("signature")).output()?)
    };
    expect_exit(&check("message")?, 0)?;
    std::fs::write(packed.at("other"), "another message")?;
    if check("other")?.status.success() {
        return Err("openssl takes the signature for any message".into());
    }
    Ok(())
}

/// What a pack says of its own size is believed before anything of it is unfolded.
fn too_large() -> Result<(), Failed> {
    let packed = Packed::new()?;
    for (name, size, says) in [
        ("samples.jsonl", 1 << 40, "it unfolds to more than"),
        ("report.html", 1 << 30, "`report.html` is larger than"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_path(name)?;
        header.set_size(size);
        header.set_cksum();
        let mut archive = GzEncoder::new(std::fs::File::create(packed.pack())?, Compression::fast());
        std::io::Write::write_all(&mut archive, header.as_bytes())?;
        archive.finish()?;
        let refused = packed.verify(None)?;
        expect_exit(&refused, 65)?;
        expect_says(&String::from_utf8_lossy(&refused.stderr), says)?;
    }
    Ok(())
}

//! Which machine and card each block ran on, and what that allows.
//!
//! A machine is a block in the sense of Fisher: what differs between two of them is the same for every arm of a block, and
//! cancels in its pair. So a pair is of one machine, one card and one driver, or it is none; between blocks they may differ
//! where somebody gave each block its own.

use super::gates::{Run, invalid};
use super::observed::{Lane, Process};
use super::outcome::Outcome;
use crate::report::model::PlaceRow;
use qa_protocol::{Device, DeviceKind};
use std::collections::{BTreeMap, BTreeSet};

/// One arm computes on one device of one machine, unless each block was given its own.
///
/// # Errors
/// INVALID, where it changed and nobody gave it another.
pub fn one_device(lane: Lane<'_>, processes: &[Process<'_>]) -> Result<(), Outcome> {
    if let Some((process, card)) = processes.iter().find_map(|p| Some((p, strayed(p)?))) {
        return invalid(format!("{} was given the card {card} and ran on {}.", lane.arm, named(process, false)));
    }
    let Some((first, others)) = processes.split_first() else { return Ok(()) };
    for other in others {
        let (a, b) = (&first.prepared.device, &other.prepared.device);
        let moved = !given_apart(first, other) && (a.uuid != b.uuid || host(first) != host(other));
        if a.kind != b.kind || moved {
            return invalid(format!(
                "{} ran on {} and later on {}: one arm, one device.",
                lane.arm,
                named(first, host(first) != host(other)),
                named(other, host(first) != host(other))
            ));
        }
    }
    Ok(())
}

/// The card that a process was given, where it says that it computed on another.
fn strayed<'a>(process: &Process<'a>) -> Option<&'a str> {
    let (device, card) = (&process.prepared.device, process.place?.card.as_deref()?);
    let uuid = device.uuid.as_deref().filter(|_| device.kind != DeviceKind::Cpu)?;
    (uuid != card).then_some(card)
}

/// Whether two processes ran where two different allocations or cards were given for their blocks.
fn given_apart(a: &Process<'_>, b: &Process<'_>) -> bool {
    let given = |process: &Process<'_>| {
        let place = process.place?;
        (place.allocation.is_some() || place.card.is_some()).then(|| (place.allocation.clone(), place.card.clone()))
    };
    matches!((given(a), given(b)), (Some(a), Some(b)) if a != b)
}

fn host<'a>(process: &Process<'a>) -> Option<&'a str> {
    process.place.map(|place| place.host.as_str())
}

/// The arms of a block ran on one card, machine and driver.
///
/// # Errors
/// INVALID, where two of a pair did not.
pub fn paired(of: (Lane<'_>, &[Process<'_>]), over: (Lane<'_>, &[Process<'_>])) -> Result<(), Outcome> {
    let ((of, left), (over, right)) = (of, over);
    let pairs = left.iter().filter_map(|a| Some((a, right.iter().find(|b| b.key.block == a.key.block)?)));
    // Two lanes without a common block are still held against each other.
    let lonely = left.first().zip(right.first());
    let mut pairs = pairs.peekable();
    let all: Vec<_> = if pairs.peek().is_some() { pairs.collect() } else { lonely.into_iter().collect() };
    let moves = all.iter().any(|(a, _)| given_apart(all[0].0, a));
    for (a, b) in all {
        let (da, db) = (&a.prepared.device, &b.prepared.device);
        let block = if moves { format!("In block {}, ", a.key.block + 1) } else { String::new() };
        let machines = match (a.place, b.place) {
            (Some(a), Some(b)) => a.machine() != b.machine(),
            _ => false,
        };
        if machines || !same_card(da, db) {
            return invalid(format!(
                "{block}{} ran on {} and {} on {}: a comparison needs one device.",
                of.arm,
                named(a, machines),
                over.arm,
                named(b, machines)
            ));
        }
        if let (Some(driver_a), Some(driver_b)) = (&da.driver, &db.driver)
            && driver_a != driver_b
        {
            return invalid(format!(
                "{block}{} ran under the driver {driver_a} and {} under {driver_b}: a comparison needs one.",
                of.arm, over.arm
            ));
        }
    }
    Ok(())
}

/// By identity where both tell it; else a name has to do, which some programs embellish.
fn same_card(a: &Device, b: &Device) -> bool {
    let named = a.name.contains(&b.name) || b.name.contains(&a.name);
    a.kind == b.kind
        && match (&a.uuid, &b.uuid) {
            (Some(a), Some(b)) => a == b,
            _ => a.kind != DeviceKind::Gpu || named,
        }
}

fn named(process: &Process<'_>, with_host: bool) -> String {
    let device = &process.prepared.device;
    let card = device.uuid.as_ref().map_or_else(|| device.name.clone(), |uuid| format!("{} ({uuid})", device.name));
    match process.place.filter(|_| with_host) {
        None => card,
        Some(place) => {
            let boot = place.boot_id.as_ref().map_or_else(String::new, |id| format!(", boot {id:.8}"));
            format!("{card} of {}{boot}", place.host)
        }
    }
}

/// The kinds of card that a lane's blocks ran on, by name.
pub fn models<'a>(processes: &[Process<'a>]) -> BTreeSet<&'a str> {
    let cards =
        processes.iter().map(|process| &process.prepared.device).filter(|device| device.kind != DeviceKind::Cpu);
    cards.map(|device| device.name.as_str()).collect()
}

/// Where a block of a comparison ran, as far as it can make a difference.
pub fn key(process: &Process<'_>) -> String {
    let device = &process.prepared.device;
    let card = device.uuid.as_deref().unwrap_or(&device.name);
    host(process).map_or_else(|| card.to_owned(), |host| format!("{card} of {host}"))
}

/// Which blocks ran where, one row a workload, machine and card; none for a run that was given nothing and moved nowhere.
pub fn rows(run: Run<'_>) -> Vec<PlaceRow> {
    type Where<'a> = (&'a str, &'a str, Option<&'a str>, &'a str, Option<&'a str>);
    let mut found: BTreeMap<Where<'_>, (BTreeSet<u32>, BTreeSet<String>)> = BTreeMap::new();
    let mut given = false;
    for (lane, processes) in run.observed.lanes() {
        for process in processes {
            let Some(place) = process.place else { continue };
            given |= place.allocation.is_some() || place.card.is_some();
            let device = &process.prepared.device;
            let card = device.uuid.as_deref();
            let at = (lane.workload, place.host.as_str(), place.boot_id.as_deref(), device.name.as_str(), card);
            let (blocks, jobs) = found.entry(at).or_default();
            blocks.insert(process.key.block + 1);
            jobs.extend(place.allocation.as_ref().map(|allocation| format!("{} {}", allocation.by, allocation.job)));
        }
    }
    let hosts: BTreeSet<_> = found.keys().map(|(_, host, boot, ..)| (host, boot)).collect();
    if !given && hosts.len() < 2 {
        return Vec::new();
    }
    found
        .into_iter()
        .map(|((workload, host, boot_id, device, uuid), (blocks, jobs))| PlaceRow {
            workload: workload.into(),
            host: host.into(),
            boot_id: boot_id.map(str::to_owned),
            device: device.into(),
            uuid: uuid.map(str::to_owned),
            blocks: blocks.into_iter().collect(),
            jobs: jobs.into_iter().collect(),
        })
        .collect()
}

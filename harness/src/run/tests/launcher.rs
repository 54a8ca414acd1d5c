//! Workers in this very process, whose times, tokens and faults are a table.

use crate::run::session::{Launcher, OnSample, Session};
use crate::samples::{Loss, LossCause, Stage};
use crate::spec::{Arm, Backend, Deadlines};
use qa_protocol::{
    Capabilities, Device, DeviceKind, Failure, Hello, Metric, PrepareRequest, Prepared, Profile, ProfileRequest,
    Replicate, RunRequest, Sample, ScoreRequest, ScoreRow, TokenSource,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// When an arm does something else than work.
pub(super) type When = fn(&Replicate) -> bool;

/// What it does then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Deed {
    Refuse,
    RefuseLate,
    Crash,
    CrashAfterOne,
    WrongToken,
    AnotherOutput,
    LeaveBadly,
    /// The user interrupts while it works.
    Interrupted,
}

/// Starts workers that do as it says.
#[derive(Clone, Default)]
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Table {
    pub(super) deeds: Vec<(&'static str, When, Deed)>,
    pub(super) beside: bool,
    /// Workers can be profiled.
    pub(super) profiles: bool,
    /// ... and break when they are.
    pub(super) profile_fails: bool,
    pub(super) no_native: bool,
    /// Workers compute on this card.
    pub(super) card: Option<&'static str>,
    pub(super) interrupted: Arc<AtomicBool>,
    /// The card that each worker was given, in order.
    pub(super) given: Rc<RefCell<Vec<Option<String>>>>,
    /// Workers that were started.
    pub(super) launched: Rc<Cell<u32>>,
    /// Every request that a worker got, in order.
    pub(super) asked: Rc<RefCell<Vec<Asked>>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    Prepare(PrepareRequest),
    Run(RunRequest),
    Score(ScoreRequest),
    Profile(ProfileRequest),
}

impl Table {
    pub(super) fn with(deeds: &[(&'static str, When, Deed)]) -> Self {
        Self { deeds: deeds.to_vec(), ..Self::default() }
    }

    /// Requests for timed iterations.
    pub(super) fn runs(&self) -> Vec<RunRequest> {
        self.run_requests(|run| run.warmup > 0)
    }

    /// Requests about prompts that a worker has not seen.
    pub(super) fn unseen(&self) -> Vec<RunRequest> {
        self.run_requests(|run| run.warmup == 0)
    }

    fn run_requests(&self, wanted: fn(&RunRequest) -> bool) -> Vec<RunRequest> {
        let runs = |asked: &Asked| match asked {
            Asked::Run(run) if wanted(run) => Some(run.clone()),
            _ => None,
        };
        self.asked.borrow().iter().filter_map(runs).collect()
    }

    pub(super) fn prepared(&self) -> Vec<Replicate> {
        let prepared = |asked: &Asked| match asked {
            Asked::Prepare(prepare) => prepare.replicate.clone(),
            _ => None,
        };
        self.asked.borrow().iter().filter_map(prepared).collect()
    }
}

impl Launcher for Table {
    fn check(&self, arm: &Arm) -> Result<(), Loss> {
        if self.no_native && arm.backend == Backend::Native {
            let failure = Failure::blocked("awaiting hardware");
            return Err(lost(Stage::Spawn, LossCause::Refused(failure), "awaiting hardware"));
        }
        Ok(())
    }

    fn launch(&self, arm: &Arm, _: &Deadlines, card: Option<&str>) -> Result<Box<dyn Session>, Loss> {
        self.check(arm)?;
        self.launched.set(self.launched.get() + 1);
        self.given.borrow_mut().push(card.map(str::to_owned));
        Ok(Box::new(Puppet { table: self.clone(), replicate: Replicate::default(), deed: None }))
    }
}

struct Puppet {
    table: Table,
    replicate: Replicate,
    deed: Option<Deed>,
}

/// What comes after a token, by everybody's right belief.
pub(super) fn next(token: u32) -> u32 {
    (token * 7 + 3) % 50
}

fn lost(stage: Stage, cause: LossCause, message: &str) -> Loss {
    Loss { stage, cause, message: message.into(), stderr_tail: vec![] }
}

impl Session for Puppet {
    fn hello(&mut self) -> Result<Hello, Loss> {
        let source = if self.table.beside { TokenSource::Beside } else { TokenSource::Timed };
        Ok(Hello {
            name: "puppet".into(),
            version: "1".into(),
            capabilities: Capabilities {
                metrics: vec![Metric::DecodeRate, Metric::TimeToFirstToken, Metric::PeakDeviceMemory],
                tokens: Some(source),
                score: true,
                profile: self.table.profiles,
                load: false,
            },
            ..Hello::default()
        })
    }

    fn prepare(&mut self, request: &PrepareRequest) -> Result<Prepared, Loss> {
        self.table.asked.borrow_mut().push(Asked::Prepare(request.clone()));
        self.replicate = request.replicate.clone().unwrap_or_default();
        let hit = |(arm, when, _): &&(&str, When, Deed)| *arm == self.replicate.arm && when(&self.replicate);
        self.deed = self.table.deeds.iter().find(hit).map(|(_, _, deed)| *deed);
        match self.deed {
            Some(Deed::Refuse) => {
                Err(lost(Stage::Prepare, LossCause::Refused(Failure::blocked("no such card")), "no such card"))
            }
            Some(Deed::Crash) => Err(lost(Stage::Prepare, LossCause::Exited("signal 9".into()), "killed")),
            Some(Deed::Interrupted) => {
                self.table.interrupted.store(true, Ordering::Relaxed);
                Err(lost(Stage::Prepare, LossCause::Interrupted, "interrupted"))
            }
            _ => {
                let kind = if self.table.card.is_some() { DeviceKind::Gpu } else { DeviceKind::Cpu };
                let device = Device { kind, uuid: self.table.card.map(str::to_owned), ..Device::default() };
                Ok(Prepared { load_ns: 5, device, ..Prepared::default() })
            }
        }
    }

    fn run(&mut self, request: &RunRequest, on_sample: OnSample<'_>) -> Result<(), Loss> {
        self.table.asked.borrow_mut().push(Asked::Run(request.clone()));
        let r = &self.replicate;
        for index in 0..request.warmup + request.iterations {
            match self.deed {
                Some(Deed::CrashAfterOne) if index == 1 => {
                    return Err(lost(Stage::Run, LossCause::Exited("signal 9".into()), "killed"));
                }
                Some(Deed::RefuseLate) if index == 1 => {
                    let failure = Failure::invalid("on the wrong device");
                    return Err(lost(Stage::Run, LossCause::Refused(failure), "on the wrong device"));
                }
                _ => {}
            }
            let mut tokens = vec![next(*request.prompt.last().unwrap())];
            while tokens.len() < request.generate_tokens as usize {
                tokens.push(next(*tokens.last().unwrap()));
            }
            match self.deed {
                Some(Deed::WrongToken) => tokens[1] = 49,
                // The oracle takes 48 for nearly as good as any other.
                Some(Deed::AnotherOutput) => *tokens.last_mut().unwrap() = 48,
                _ => {}
            }
            // A function of the replicate alone, with digits enough to notice a lost one.
            let noise = f64::from(r.block * 13 + r.attempt * 5 + index * 3 + u32::from(r.side)) / 7.0;
            let sample = Sample {
                index,
                warmup: index < request.warmup,
                prefill_ns: Some(1e6 + noise),
                decode_ns: Some(1e8 + noise),
                decode_tokens: request.generate_tokens - 1,
                prompt_tokens: request.prompt.len() as u32,
                tokens: request.tokens.then_some(tokens),
                token_source: request.tokens.then_some(if self.table.beside {
                    TokenSource::Beside
                } else {
                    TokenSource::Timed
                }),
                ..Sample::default()
            };
            on_sample(sample, None);
        }
        Ok(())
    }

    fn score(&mut self, request: &ScoreRequest, on_row: &mut dyn FnMut(ScoreRow)) -> Result<(), Loss> {
        self.table.asked.borrow_mut().push(Asked::Score(request.clone()));
        if self.deed == Some(Deed::CrashAfterOne) {
            return Err(lost(Stage::Score, LossCause::Exited("signal 9".into()), "killed"));
        }
        for (window, tokens) in request.tokens.chunks_exact(request.context as usize).enumerate() {
            for offset in request.first as usize..tokens.len() {
                let right = next(tokens[offset - 1]);
                let belief = |token: u32| match token {
                    token if token == right => 0.8_f64,
                    48 => 0.1,
                    _ => 0.1 / 48.0,
                };
                let mut top: Vec<(u32, f32)> = (0..50).map(|t| (t, belief(t).ln() as f32)).collect();
                top.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                let named: f64 = top.iter().take(request.top as usize).map(|(t, _)| belief(*t)).sum();
                let whole: f64 = top.iter().map(|(t, _)| belief(*t)).sum();
                top.truncate(request.top as usize);
                on_row(ScoreRow {
                    index: (window * request.context as usize + offset) as u32,
                    nll: -belief(tokens[offset]).ln(),
                    top,
                    tail: whole - named,
                });
            }
        }
        Ok(())
    }

    fn profile(&mut self, request: &ProfileRequest) -> Result<Profile, Loss> {
        self.table.asked.borrow_mut().push(Asked::Profile(request.clone()));
        if self.table.profile_fails {
            return Err(lost(Stage::Profile, LossCause::Exited("signal 9".into()), "killed"));
        }
        Ok(Profile { decode_tokens: request.generate_tokens - 1, ..Profile::default() })
    }

    fn finish(self: Box<Self>) -> Result<(), Loss> {
        match self.deed {
            Some(Deed::LeaveBadly) => Err(lost(Stage::Bye, LossCause::Deadline(1.0), "did not leave")),
            _ => Ok(()),
        }
    }
}

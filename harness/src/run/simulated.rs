//! Scripted workers without processes, on a simulated clock: the same conversation, thousands of runs a minute.

use super::host::conversation::Conversation;
use super::host::lines::{Cut, LineBuffer};
use super::host::wire::{Ending, Event, Exit, Wire};
use super::session::{Launcher, Session};
use crate::samples::{Loss, LossCause, Stage};
use crate::spec::{Arm, Backend, Deadlines};
use qa_fake::{Action, Actor, Clock, Script};
use qa_protocol::{MAX_LINE_BYTES, Request, RequestLine};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// Starts actors in place of workers. Only arms of backend `fake` can be simulated.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedLauncher;

impl Launcher for SimulatedLauncher {
    fn check(&self, arm: &Arm) -> Result<(), Loss> {
        script(arm).map(drop)
    }

    fn launch(&self, arm: &Arm, deadlines: &Deadlines, _: Option<&str>) -> Result<Box<dyn Session>, Loss> {
        Ok(Box::new(Conversation::new(ActorWire::new(script(arm)?), *deadlines)))
    }
}

fn script(arm: &Arm) -> Result<Script, Loss> {
    let loss = |cause, message| Loss { stage: Stage::Spawn, cause, message, stderr_tail: Vec::new() };
    if arm.backend != Backend::Fake {
        let message = format!("A simulation has only arms of backend `fake`, and this one is {:?}.", arm.backend);
        return Err(loss(LossCause::NotStarted, message));
    }
    Script::from_options(&arm.options).map_err(|failure| {
        let message = failure.message.clone();
        loss(LossCause::Refused(failure), message)
    })
}

/// What happens on the wire of an actor, in order.
enum Happening {
    Cut(Cut),
    Delay(Duration),
    /// Nothing more, with the process there or, in words, not.
    End(Option<Exit>),
}

/// An actor that answers at once, and whose delays are counted and not waited for.
struct ActorWire {
    actor: Actor,
    buffer: LineBuffer,
    happenings: VecDeque<Happening>,
    ended: bool,
    exit: Option<Exit>,
    complaints: Vec<String>,
}

impl ActorWire {
    fn new(script: Script) -> Self {
        Self {
            actor: Actor::new(script, Clock::Simulated),
            buffer: LineBuffer::new(MAX_LINE_BYTES),
            happenings: VecDeque::new(),
            ended: false,
            exit: None,
            complaints: Vec::new(),
        }
    }
}

impl Wire for ActorWire {
    fn send(&mut self, request: &RequestLine) {
        if self.ended {
            return;
        }
        let Self { actor, buffer, happenings, ended, complaints, .. } = self;
        let end = |exit: Option<(bool, String)>| Happening::End(exit.map(|(success, words)| Exit { success, words }));
        let mut perform = |action| {
            let happening = match action {
                Action::Write(bytes) => {
                    happenings.extend(buffer.feed(&bytes).into_iter().map(Happening::Cut));
                    return Ok(());
                }
                Action::Complain(lines) => {
                    complaints.extend((1..=lines).map(|n| format!("scripted complaint {n} of {lines}")));
                    return Ok(());
                }
                Action::Grandchild => return Ok(()),
                Action::Delay(time) => {
                    happenings.push_back(Happening::Delay(time));
                    return Ok(());
                }
                Action::Hang => end(None),
                Action::Exit(status) => end(Some((status == 0, format!("exit status {status}")))),
                Action::Segfault => end(Some((false, "killed by SIGSEGV, an invalid memory access".to_owned()))),
            };
            happenings.push_back(happening);
            *ended = true;
            Err(io::Error::other("the actor has left the stage"))
        };
        // An error is this closure's own, to stop an actor that ended.
        let _ = actor.play(request, &mut perform);
        if request.request == Request::Bye && !self.ended {
            self.ended = true;
            self.happenings.push_back(Happening::End(Some(Exit { success: true, words: "exit status 0".to_owned() })));
        }
    }

    fn receive(&mut self, within: Duration) -> Event {
        let mut passed = Duration::ZERO;
        loop {
            match self.happenings.pop_front() {
                Some(Happening::Cut(Cut::Line(line))) => return Event::Line(line, Instant::now()),
                Some(Happening::Cut(Cut::TooLong(start))) => return Event::TooLong(start),
                Some(Happening::Delay(time)) => passed += time,
                Some(Happening::End(exit @ Some(_))) => {
                    self.exit = exit;
                    return Event::Closed(self.buffer.partial().to_vec());
                }
                Some(Happening::End(None)) | None => return Event::Late(self.buffer.partial().to_vec()),
            }
            if passed > within {
                return Event::Late(self.buffer.partial().to_vec());
            }
        }
    }

    fn end(&mut self, _: Duration) -> Ending {
        self.ended = true;
        let first = self.complaints.len().saturating_sub(20);
        Ending { exit: self.exit.clone(), stderr_tail: self.complaints[first..].to_vec() }
    }

    fn shares_clock(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;

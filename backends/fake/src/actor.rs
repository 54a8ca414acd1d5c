//! A script, played: an honest worker with the script's faults between it and the wire.

use crate::fake::{Clock, Fake};
use crate::mischief::{Action, Mischief};
use crate::script::Script;
use qa_protocol::{Request, RequestLine, answer};
use std::io;

/// One scripted process, without the process.
pub struct Actor {
    fake: Fake,
    mischief: Mischief,
}

impl Actor {
    /// A fresh process. `script` is what it knows before `prepare` brings the script again: who it is, and faults that
    /// strike `hello`.
    pub fn new(script: Script, clock: Clock) -> Self {
        let mischief = Mischief::new(script.faults.clone());
        Self { fake: Fake::new(script, clock), mischief }
    }

    /// Answer one request by handing on what the process does. A goodbye without a fault does nothing.
    ///
    /// # Errors
    /// What `perform` returns. It may return an error to stop an actor that it has seen the last of.
    pub fn play(&mut self, line: &RequestLine, perform: &mut dyn FnMut(Action) -> io::Result<()>) -> io::Result<()> {
        if let Request::Prepare(prepare) = &line.request
            && let Ok(script) = Script::from_options(&prepare.options)
        {
            self.mischief.learn(script.faults, prepare.replicate.clone().unwrap_or_default());
        }
        self.mischief.begin(&line.request);
        if line.request == Request::Bye {
            return self.mischief.leave().into_iter().try_for_each(perform);
        }
        let mischief = &mut self.mischief;
        answer(&mut self.fake, &line.request, &mut |reply| {
            mischief.pass(line.id, reply)?.into_iter().try_for_each(&mut *perform)
        })
    }
}

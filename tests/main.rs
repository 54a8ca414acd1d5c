//! End-to-end tests: the command as people run it, on real workers, files and programs.
//!
//! A trial that needs something that is not here is ignored, and its name says what is missing.

mod ablation;
mod book;
mod ci;
mod commands;
mod daily;
mod docs;
mod evidence;
mod generate;
mod harm;
mod history;
mod interrupt;
mod junit_schema;
mod kill;
mod lies;
mod loads;
mod models;
mod outputs;
mod profile;
mod records;
mod resources;
mod rows;
mod scale;
mod scripted;
mod served;
mod simulation;
mod slurm;
mod support;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(scripted::trials());
    trials.extend(ablation::trials());
    trials.extend(book::trials());
    trials.extend(ci::trials());
    trials.extend(commands::trials());
    trials.extend(daily::trials());
    trials.extend(docs::trials());
    trials.extend(evidence::trials());
    trials.extend(generate::trials());
    trials.extend(history::trials());
    trials.extend(harm::trials());
    trials.extend(interrupt::trials());
    trials.extend(kill::trials());
    trials.extend(lies::trials());
    trials.extend(loads::trials());
    trials.extend(models::trials());
    trials.extend(outputs::trials());
    trials.extend(profile::trials());
    trials.extend(records::trials());
    trials.extend(resources::trials());
    trials.extend(rows::trials());
    trials.extend(scale::trials());
    trials.extend(served::trials());
    trials.extend(simulation::trials());
    trials.extend(slurm::trials());
    libtest_mimic::run(&arguments, trials).exit();
}

//! What the claims of a specification could see, and whether that is what they ask about.

use super::Earlier;
use crate::metrics::{Direction, definition};
use crate::spec::{Ablation, Control, Entry, Families, Spec};
use crate::stats::{StatsError, looks, multiplicity, power, shapley};
use crate::verdict::Lane;
use qa_protocol::Metric;

/// Power at which detectable effects are quoted, as in the report.
pub const POWER: f64 = 0.8;

/// How much the logs of pairs (or of single values) scatter, and who says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// Standard deviation in an earlier run.
    Earlier(f64),
    /// From an assumed relative noise of a process.
    Assumed(f64),
}

impl Spread {
    /// The standard deviation.
    pub fn sd(self) -> f64 {
        match self {
            Self::Earlier(sd) | Self::Assumed(sd) => sd,
        }
    }
}

/// What a claim could see.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// The entry, by id.
    pub entry: String,
    /// Which check of it.
    pub check: &'static str,
    /// What is compared, such as `decode_rate of a over b`.
    pub words: String,
    /// How much pairs scatter.
    pub spread: Spread,
    /// The smallest true difference from the margin that would be seen with the power of [`POWER`], look by look.
    pub looks: Vec<AtLook>,
    /// Why the claim cannot be judged as it is meant.
    pub warning: Option<String>,
}

/// A look's sight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtLook {
    /// Blocks.
    pub blocks: u32,
    /// As a factor above 1: 1.03 is 3 %. Nothing below two blocks.
    pub factor: Option<f64>,
}

/// What is asked about a ratio or a value.
enum Asked {
    /// To be on one side of this, which is to be told from a ratio of 1.
    Margin(f64),
    /// The same of an arm and itself, whose true ratio is 1.
    ControlMargin(f64),
    /// To lie between.
    Within(f64, f64),
    /// A value, whose distance from the margin nobody knows yet.
    Open,
}

struct Claim<'a> {
    check: &'static str,
    /// What is said of it in place of its lanes.
    words: Option<String>,
    /// How much it scatters, in units of a pair's scatter.
    scatter: f64,
    metric: Metric,
    of: Lane<'a>,
    over: Option<Lane<'a>>,
    asked: Asked,
    confidence: f64,
    family: usize,
}

/// What every statistical claim of a specification could see. `noise` is the relative standard deviation between processes
/// that is assumed where no earlier run says better.
///
/// # Errors
/// When looks, confidence or noise are out of range, which validation refuses earlier.
pub fn sight(spec: &Spec, earlier: Option<&Earlier<'_>>, noise: f64) -> Result<Vec<Sight>, StatsError> {
    let mut all = Vec::new();
    let families = Families::of(spec);
    for (_, entry) in spec.entries() {
        for claim in claims(spec, entry, families.size(entry)) {
            all.push(of_claim(spec, entry, &claim, earlier, noise)?);
        }
    }
    Ok(all)
}

fn claims<'a>(spec: &'a Spec, entry: &'a Entry, family: usize) -> Vec<Claim<'a>> {
    let lane = |named: &'a Option<String>, arm: &'a str, side| Lane {
        workload: spec.workload_name(named.as_deref()),
        arm,
        side,
    };
    let confidence = spec.sampling.confidence;
    let mut claims = Vec::new();
    if let Some(c) = &entry.require {
        let side = u8::from(c.control == Some(Control::Aa));
        let asked = match (c.over_arm(), c.at_least.or(c.at_most), c.within) {
            (None, ..) | (_, None, None) => Asked::Open,
            (Some(_), Some(margin), _) if side == 1 => Asked::ControlMargin(margin),
            (Some(_), Some(margin), _) => Asked::Margin(margin),
            (Some(_), None, Some([low, high])) => Asked::Within(low, high),
        };
        claims.push(Claim {
            check: "require",
            words: c.baseline().map(|b| format!("{} of {} over the baseline {}", c.metric, c.of, b.baseline)),
            // The baseline's processes scatter as much as those of this run.
            scatter: if c.baseline().is_some() { std::f64::consts::SQRT_2 } else { 1.0 },
            metric: c.metric,
            of: lane(&c.workload, &c.of, 0),
            over: c.over_arm().map(|over| lane(&c.workload, over, side)),
            asked,
            confidence: c.confidence.unwrap_or(confidence),
            family,
        });
    }
    if let Some(c) = &entry.gain {
        let margin = match definition(c.metric).direction {
            Direction::HigherIsBetter => c.claimed,
            Direction::LowerIsBetter => 1.0 / c.claimed,
        };
        claims.push(Claim {
            check: "gain",
            words: None,
            scatter: 1.0,
            metric: c.metric,
            of: lane(&c.workload, &c.of, 0),
            over: Some(lane(&c.workload, &c.over, 0)),
            asked: Asked::Margin(margin),
            confidence,
            family,
        });
    }
    if let Some(c) = &entry.ablation {
        claims.extend(of_ablation(spec, c));
    }
    if let Some(c) = &entry.significance {
        claims.push(Claim {
            check: "significance",
            words: None,
            scatter: 1.0,
            metric: c.metric,
            of: lane(&c.workload, &c.of, 0),
            over: Some(lane(&c.workload, &c.over, 0)),
            asked: Asked::Open,
            confidence: 1.0 - c.p_below,
            family: 1,
        });
    }
    claims
}

/// What an ablation asks: which combination is best, and what each switch contributes.
fn of_ablation<'a>(spec: &'a Spec, ablation: &'a Ablation) -> Vec<Claim<'a>> {
    let switches = ablation.switches.len();
    let lane = |name: &str| {
        let (arm, _) = spec.arms.get_key_value(name)?;
        Some(Lane { workload: spec.workload_name(ablation.workload.as_deref()), arm, side: 0 })
    };
    let (Some(none), Some(all)) =
        (lane(&ablation.arm), ablation.sets().checked_sub(1).and_then(|set| lane(&ablation.arm_of(set))))
    else {
        return Vec::new();
    };
    let claim = |words: String, family: usize, scatter: f64| Claim {
        check: "ablation",
        words: Some(words),
        scatter,
        metric: ablation.metric,
        of: all,
        over: Some(none),
        asked: Asked::Open,
        confidence: spec.sampling.confidence,
        family,
    };
    let (metric, combinations) = (ablation.metric, ablation.sets() - 1);
    vec![
        claim(format!("{metric} of each of {combinations} combinations over {}", ablation.arm), combinations, 1.0),
        claim(format!("{metric} by each of {switches} switches (Shapley value)"), switches, shapley::noise(switches)),
    ]
}

fn of_claim(
    spec: &Spec,
    entry: &Entry,
    claim: &Claim<'_>,
    earlier: Option<&Earlier<'_>>,
    noise: f64,
) -> Result<Sight, StatsError> {
    let sides: f64 = if claim.over.is_some() { 2.0 } else { 1.0 };
    let seen = earlier.and_then(|e| e.log_sd(claim.metric, claim.of, claim.over)).filter(|sd| *sd > 0.0);
    // The two processes of a pair scatter independently of each other.
    let pair = seen.map_or(Spread::Assumed(noise * sides.sqrt()), Spread::Earlier);
    let spread = match pair {
        Spread::Earlier(sd) => Spread::Earlier(sd * claim.scatter),
        Spread::Assumed(sd) => Spread::Assumed(sd * claim.scatter),
    };
    let declared: Vec<usize> = spec.sampling.looks().iter().map(|b| *b as usize).collect();
    let confidence = multiplicity::bonferroni_confidence(claim.confidence, claim.family)?;
    let schedule = match declared.as_slice() {
        [0 | 1] => Vec::new(),
        looks => looks::schedule(looks, confidence, spec.sampling.spending.into())?,
    };
    let effect = |blocks: usize, confidence: f64, power: f64| {
        power::detectable_effect(spread.sd(), blocks, confidence, power).map(|found| found.effect)
    };
    let mut looks = Vec::new();
    for look in &schedule {
        let factor = Some(effect(look.blocks, look.confidence, POWER)?.exp());
        looks.push(AtLook { blocks: look.blocks as u32, factor });
    }
    let warning = match schedule.last() {
        None => Some("a bound needs at least two blocks, and one is planned".to_owned()),
        Some(last) => match claim.asked {
            Asked::Open | Asked::Margin(1.0) => None,
            Asked::ControlMargin(1.0) => {
                Some("the true ratio of a control is 1x, right on the margin: no number of blocks decides".to_owned())
            }
            Asked::Margin(margin) | Asked::ControlMargin(margin) => {
                let least = effect(last.blocks, last.confidence, POWER)?;
                (least > margin.ln().abs()).then(|| {
                    format!(
                        "{margin}x is closer to 1x than {} blocks can see ({:.3}x): equal arms would be left undecided",
                        last.blocks,
                        least.exp()
                    )
                })
            }
            Asked::Within(low, high) => {
                // Equal arms must clear both ends; what is missed at each is shared out evenly.
                let least = effect(last.blocks, last.confidence, f64::midpoint(1.0, POWER))?;
                let room = (-low.ln()).min(high.ln());
                (least > room).then(|| {
                    format!(
                        "{low}x to {high}x is narrower than {} blocks can see ({:.3}x): equal arms would not pass",
                        last.blocks,
                        least.exp()
                    )
                })
            }
        },
    };
    Ok(Sight { entry: entry.id.clone(), check: claim.check, words: words(claim), spread, looks, warning })
}

fn words(claim: &Claim<'_>) -> String {
    if let Some(words) = &claim.words {
        return words.clone();
    }
    let over = match claim.over {
        Some(over) if over.arm == claim.of.arm => " over its own, in a second process".to_owned(),
        Some(over) => format!(" over {}", over.arm),
        None => String::new(),
    };
    format!("{} of {}{over}", claim.metric, claim.of.arm)
}

//! What the seed fixes: when the server is killed, and what each client does next.

use std::time::Duration;

use fastrand::Rng;

use crate::event::Decision;

/// Share of rounds in which the server is killed before it may have started.
const EARLY_KILL_PERCENT: u32 = 15;
/// How long such a server lives at most.
const EARLY_LIFE_MS_MAX: u64 = 60;
/// How long the machine is without server at most.
const DOWN_MS_MAX: u64 = 200;

/// One life of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// It is killed so long after its process began, answering or not.
    pub(crate) early_life: Option<Duration>,
    /// Else so long after its first answer.
    pub(crate) life: Duration,
    /// Then so much time passes until the next begins.
    pub(crate) down: Duration,
}

/// The rounds of a seed; `life_max` is the longest life.
pub(crate) fn rounds(seed: u64, count: u32, life_max: Duration) -> Vec<Round> {
    let mut random = random(seed, "kills");
    let life_ms_max = u64::try_from(life_max.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut round = |number: u32| {
        let is_early = random.u32(..100) < EARLY_KILL_PERCENT && number > 0;
        Round {
            early_life: is_early.then(|| Duration::from_millis(random.u64(..=EARLY_LIFE_MS_MAX))),
            life: Duration::from_millis(random.u64(life_ms_max / 10..=life_ms_max)),
            down: Duration::from_millis(random.u64(..=DOWN_MS_MAX)),
        }
    };
    (0..count).map(&mut round).collect()
}

/// The random numbers of one part of the workload, the same for the same seed whatever the other parts do.
pub(crate) fn random(seed: u64, part: &str) -> Rng {
    // FNV-1a: which one does not matter, that it never changes does.
    let hash = part
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    Rng::with_seed(seed ^ hash)
}

/// What the sender of this transaction does with it.
pub(crate) fn decision(seed: u64, key: &str) -> Decision {
    match random(seed, key).u32(..100) {
        0..45 => Decision::Commit,
        45..65 => Decision::Rollback,
        65..82 => Decision::CommitWhenAsked,
        82..95 => Decision::RollbackWhenAsked,
        _ => Decision::Silence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_rounds() {
        let life_max = Duration::from_secs(2);
        let plan = rounds(7, 50, life_max);
        assert_eq!(plan, rounds(7, 50, life_max));
        assert_ne!(plan, rounds(8, 50, life_max));
        assert_eq!(plan[..10], rounds(7, 10, life_max));
        assert!(plan.iter().any(|round| round.early_life.is_some()) && plan[0].early_life.is_none());
        assert!(plan.iter().all(|round| round.life <= life_max));
    }

    #[test]
    fn a_seed_fixes_all_decisions() {
        let decisions = |seed| (0..200).map(move |number| decision(seed, &format!("t{number}"))).collect::<Vec<_>>();
        assert_eq!(decisions(3), decisions(3));
        for decision in [Decision::Commit, Decision::Rollback, Decision::CommitWhenAsked, Decision::Silence] {
            assert!(decisions(3).contains(&decision));
        }
    }
}

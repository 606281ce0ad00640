//! Automatic compaction: decides when and to which revision; the leader's proposals alone carry it out.
//!
//! Both modes run on every member, so that a new leader knows the past; a member that does not lead only
//! looks and notes. Intervals and bookkeeping are etcd's (`v3compactor`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::config::AutoCompaction;
use crate::apply::{Command, Rejection};
use crate::clock::Clock;
use crate::mvcc::Store;
use crate::raft::{self, Handle};
use crate::types::Revision;

const HOUR: Duration = Duration::from_secs(3600);
/// Parts into which a period (an hour at most) is divided.
const LOOKS_PER_PERIOD: u32 = 10;
/// Between two compactions to a number of revisions behind.
const REVISION_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Compacts as `mode` says until it is dropped.
pub(super) async fn run(mode: AutoCompaction, handle: Handle, store: Store, clock: Arc<dyn Clock>) {
    let mut schedule = match mode {
        AutoCompaction::Periodic(period) => Schedule::Periodic(Periodic::new(period, clock.now())),
        AutoCompaction::Revision(keep) => Schedule::Revision { keep, last: Revision(0) },
    };
    loop {
        schedule.look(store.revision());
        clock.sleep(schedule.interval()).await;
        if !handle.status().is_leader() {
            continue;
        }
        let Some(revision) = schedule.due(store.revision(), clock.now()) else { continue };
        let begun = clock.now();
        tracing::info!(%revision, "auto compaction begins");
        match handle.propose(Command::Compact { revision, physical: false }).await {
            // Compacted by somebody else is as good.
            Ok(_) | Err(raft::Error::Rejected(Rejection::Compacted)) => {
                tracing::info!(%revision, took = ?(clock.now() - begun), "auto compaction done");
                schedule.done(revision, clock.now());
            }
            Err(error) => {
                let retry_in = schedule.interval();
                tracing::warn!(%revision, %error, ?retry_in, "auto compaction failed");
            }
        }
    }
}

/// When to compact, and to what.
enum Schedule {
    Periodic(Periodic),
    /// `keep` revisions stay.
    Revision {
        keep: i64,
        last: Revision,
    },
}

impl Schedule {
    fn interval(&self) -> Duration {
        match self {
            Schedule::Periodic(periodic) => periodic.interval(),
            Schedule::Revision { .. } => REVISION_INTERVAL,
        }
    }

    /// Notes the store's revision at the beginning of an interval.
    fn look(&mut self, revision: Revision) {
        match self {
            Schedule::Periodic(periodic) => periodic.note(revision),
            Schedule::Revision { .. } => {}
        }
    }

    /// The revision to compact to, at the end of an interval.
    fn due(&mut self, revision: Revision, now: Instant) -> Option<Revision> {
        match self {
            Schedule::Periodic(periodic) => periodic.due(now),
            Schedule::Revision { keep, last } => {
                let target = Revision(revision.0 - *keep);
                (target > Revision(0) && target != *last).then_some(target)
            }
        }
    }

    fn done(&mut self, revision: Revision, now: Instant) {
        match self {
            Schedule::Periodic(periodic) => periodic.done(revision, now),
            Schedule::Revision { last, .. } => *last = revision,
        }
    }
}

/// Keeps the history of one period. Nothing is compacted before a whole period is known.
struct Periodic {
    period: Duration,
    /// The store's revision at each look, oldest first: the first was the store's one period ago.
    noted: VecDeque<Revision>,
    last: Revision,
    last_at: Instant,
    /// Before the first compaction the period itself, then an hour at most.
    wait: Duration,
}

impl Periodic {
    fn new(period: Duration, now: Instant) -> Self {
        Periodic { period, noted: VecDeque::new(), last: Revision(0), last_at: now, wait: period }
    }

    fn interval(&self) -> Duration {
        self.period.min(HOUR) / LOOKS_PER_PERIOD
    }

    fn note(&mut self, revision: Revision) {
        let looks = self.period.as_nanos() / self.interval().as_nanos().max(1) + 1;
        self.noted.push_back(revision);
        if self.noted.len() as u128 > looks {
            self.noted.pop_front();
        }
    }

    fn due(&mut self, now: Instant) -> Option<Revision> {
        let revision = *self.noted.front()?;
        if now - self.last_at < self.wait || revision == self.last {
            return None;
        }
        self.wait = self.period.min(HOUR);
        Some(revision)
    }

    fn done(&mut self, revision: Revision, now: Instant) {
        self.last = revision;
        self.last_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Runs a schedule over simulated time: each look one interval later, `revision_at(minutes)` is the
    /// store's. Answers (minute, revision) of each compaction; those in `failing` fail.
    fn story(
        mut schedule: Schedule,
        minutes: u64,
        revision_at: impl Fn(u64) -> i64,
        led: impl Fn(u64) -> bool,
        failing: &[u64],
    ) -> Vec<(u64, i64)> {
        let start = Instant::now();
        let mut now = start;
        let minute = |now: Instant| (now - start).as_secs() / 60;
        if let Schedule::Periodic(periodic) = &mut schedule {
            periodic.last_at = start;
        }
        let mut compactions = Vec::new();
        while minute(now) < minutes {
            schedule.look(Revision(revision_at(minute(now))));
            now += schedule.interval();
            if !led(minute(now)) {
                continue;
            }
            if let Some(revision) = schedule.due(Revision(revision_at(minute(now))), now) {
                compactions.push((minute(now), revision.0));
                if !failing.contains(&minute(now)) {
                    schedule.done(revision, now);
                }
            }
        }
        compactions
    }

    fn periodic(minutes: u32) -> Schedule {
        Schedule::Periodic(Periodic::new(MINUTE * minutes, Instant::now()))
    }

    #[test]
    fn a_period_below_an_hour_is_kept_and_compacted_once_a_period() {
        let compactions = story(periodic(30), 100, |minute| 1 + minute as i64, |_| true, &[]);
        assert_eq!(compactions, [(30, 1), (60, 28), (90, 58)]);
    }

    #[test]
    fn a_longer_period_is_compacted_every_hour() {
        let compactions = story(periodic(120), 250, |minute| 1 + minute as i64, |_| true, &[]);
        assert_eq!(compactions, [(120, 1), (180, 55), (240, 115)]);
    }

    #[test]
    fn nothing_new_is_nothing_to_compact() {
        assert_eq!(story(periodic(30), 200, |_| 7, |_| true, &[]), [(30, 7)]);
    }

    #[test]
    fn who_does_not_lead_notes_the_past_and_compacts_once_it_leads() {
        let compactions = story(periodic(30), 100, |minute| 1 + minute as i64, |minute| minute >= 50, &[]);
        assert_eq!(compactions, [(51, 19), (81, 49)]);
    }

    #[test]
    fn what_failed_is_tried_again_after_a_tenth() {
        let compactions = story(periodic(30), 40, |minute| 1 + minute as i64, |_| true, &[30]);
        assert_eq!(compactions[..1], [(30, 1)]);
        assert_eq!(compactions[1].0, 33);
    }

    #[test]
    fn revision_mode_keeps_so_many_and_looks_every_five_minutes() {
        let schedule = Schedule::Revision { keep: 100, last: Revision(0) };
        let compactions =
            story(schedule, 26, |minute| if minute < 20 { 95 + minute as i64 } else { 115 }, |_| true, &[]);
        assert_eq!(compactions, [(10, 5), (15, 10), (20, 15)]);
    }
}

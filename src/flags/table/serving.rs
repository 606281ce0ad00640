//! Limits of requests, the store, compaction, checks.

use crate::flags::{Flag, Releases};

pub(super) const FEATURES: &[Flag] = &[
    Flag::duration("corrupt-check-time", "0s")
        .releases(Releases::Since36)
        .accepted("compare the members' data at this interval; checks come in a later release")
        .help("Time between two comparisons of the members' data."),
    Flag::duration("compact-hash-check-time", "1m")
        .releases(Releases::Since36)
        .range("> 0")
        .accepted("compare hashes at compactions at this interval; checks come in a later release")
        .help("Time between two comparisons of hashes at compactions."),
    Flag::int("compaction-batch-limit", "1000")
        .releases(Releases::Since36)
        .accepted("bound a step of compaction; compaction here never holds up requests")
        .help("Most revisions that one step of compaction removes."),
    Flag::duration("compaction-sleep-interval", "10ms")
        .releases(Releases::Since36)
        .accepted("pause between steps of compaction; compaction here never holds up requests")
        .help("Pause between two steps of compaction."),
    Flag::duration("watch-progress-notify-interval", "10m")
        .releases(Releases::Since36)
        .help("Time without events after which a watcher that asked for it is told the revision."),
    Flag::duration("warning-apply-duration", "100ms")
        .releases(Releases::Since36)
        .accepted("log entries that take longer to apply; they are applied in memory")
        .help("An entry that takes longer to apply is logged."),
    Flag::uint("bootstrap-defrag-threshold-megabytes", "0")
        .releases(Releases::Since36)
        .accepted("defragment the bbolt file at the start; the store here is not bbolt")
        .help("Space to gain that makes the server defragment at its start, in megabytes."),
    Flag::duration("downgrade-check-time", "5s")
        .releases(Releases::Since36)
        .accepted("look for an ordered downgrade at this interval; downgrades come in a later release")
        .help("Time between two looks for an ordered downgrade."),
];

pub(super) const UNSAFE: &[Flag] = &[
    Flag::bool("force-new-cluster", "false")
        .refused("making a new cluster of one surviving member comes in a later release")
        .help("Keep the data and make this member the only one."),
    Flag::bool("unsafe-no-fsync", "false")
        .help("Do not sync the log to disk: a crash of the machine then loses acknowledged writes."),
];

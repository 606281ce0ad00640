//! The member itself: its name, its folder, its ports, its timing.

use crate::flags::{Flag, Kind, Releases};

pub(super) const USAGE: &[Flag] = &[
    Flag::bool("version", "false").help("Print the version and exit."),
    Flag::text("config-file", "").help("YAML or JSON file; every other flag and variable is then ignored."),
];

pub(super) const KVORUM: &[Flag] = &[
    Flag::bool("kvorum-hold-when-removed", "false")
        .releases(Releases::Kvorum)
        .help("After removal from the cluster stay up in state Removed and answer probes, instead of exiting."),
    Flag::bool("kvorum-hold-when-refused", "false").releases(Releases::Kvorum).help(
        "When no waiting leads to a cluster (a used-up token, flags that do not fit) stay up in state Refused \
         and answer probes, instead of exiting.",
    ),
    Flag::bool("kvorum-await-founding-grant", "false").releases(Releases::Kvorum).help(
        "Found a cluster only after leave was given to this very disk: POST /kvorum/founding/grant/DISK, with the \
         disk that /kvorum/state shows. A wiped disk is another one.",
    ),
    Flag::duration("kvorum-discovery-timeout", "5m")
        .releases(Releases::Kvorum)
        .range("> 0")
        .help("How long a discovery service may be away, or SRV records be incomplete, before that is final. \
             Members that have yet to register are waited for without end."),
    Flag::uint("kvorum-discovery-srv-size", "0")
        .releases(Releases::Kvorum)
        .range("0: as many as two look-ups in a row list")
        .help("How many members --discovery-srv must list before anything forms; records do not say it themselves."),
    Flag::list("kvorum-name-servers", "")
        .releases(Releases::Kvorum)
        .range("IP or IP:PORT,...; empty: the system's")
        .help("Name servers to ask for SRV records and for the names of peers and discovery services."),
];

pub(super) const MEMBER: &[Flag] = &[
    Flag::text("name", "default").help("Human-readable name of this member; unique within the cluster."),
    Flag::text("data-dir", "").help("Data directory; empty means NAME.etcd."),
    Flag::text("wal-dir", "").help("Directory for the log alone; empty means below the data directory."),
    Flag::uint("snapshot-count", "10000").help("Applied entries between two checkpoints."),
    Flag::uint("snapshot-catchup-entries", "5000")
        .releases(Releases::Since36)
        .help("Entries kept behind a checkpoint for slow followers."),
    Flag::uint("heartbeat-interval", "100")
        .range("milliseconds, > 0")
        .help("Time between two heartbeats of the leader, in milliseconds."),
    Flag::uint("election-timeout", "1000")
        .range("milliseconds, 5 heartbeats to 50000")
        .help("Time without a heartbeat after which an election starts, in milliseconds."),
    Flag::bool("initial-election-tick-advance", "true")
        .accepted("shorten the first election timeout; here the first one is never lengthened")
        .help("Whether the first election may start early."),
    Flag::urls("listen-peer-urls", "http://localhost:2380")
        .range("IP address or localhost")
        .help("Addresses to listen on for peers."),
    Flag::urls("listen-client-urls", "http://localhost:2379")
        .range("IP address or localhost")
        .help("Addresses to listen on for clients, gRPC and HTTP."),
    Flag::urls("listen-client-http-urls", "")
        .range("IP address or localhost")
        .help("Addresses for HTTP clients alone; takes HTTP away from --listen-client-urls."),
    Flag::uint("max-snapshots", "5").range("0 keeps all").help("Checkpoint files to keep."),
    Flag::uint("max-wals", "5")
        .accepted("limit the number of log files; here a log file goes as soon as no checkpoint needs it")
        .help("Log files to keep."),
    Flag::bool("memory-mlock", "false")
        .releases(Releases::Since36)
        .accepted("lock the server's memory against swapping")
        .help("Keep the server's pages in memory."),
    Flag::int("quota-backend-bytes", "0")
        .range("0 means 2 GiB, negative no limit")
        .help("Size of the key space at which the NOSPACE alarm is raised and writes are refused."),
    Flag::text("backend-bbolt-freelist-type", "map")
        .range("array or map")
        .accepted("choose the free list of bbolt; the store here is not bbolt")
        .help("Free list of the bbolt backend."),
    Flag::duration("backend-batch-interval", "0s")
        .accepted("delay commits of the bbolt backend; the store here is not bbolt")
        .help("Longest time before a backend commit."),
    Flag::int("backend-batch-limit", "0")
        .accepted("gather operations per commit of the bbolt backend; the store here is not bbolt")
        .help("Most operations before a backend commit."),
    Flag::uint("max-txn-ops", "128").help("Most operations in one transaction."),
    Flag::uint("max-request-bytes", "1572864").help("Largest request of a client, in bytes."),
    Flag::new("max-concurrent-streams", Kind::Uint32, "4294967295")
        .help("Most streams that one client connection may have open."),
    Flag::duration("grpc-keepalive-min-time", "5s")
        .accepted("close connections that ping more often than this; here every ping is answered")
        .help("Shortest time between two pings of a client."),
    Flag::duration("grpc-keepalive-interval", "2h")
        .range("0 turns it off")
        .help("Time without traffic after which the server pings a client."),
    Flag::duration("grpc-keepalive-timeout", "20s").help("Time to wait for the answer to such a ping."),
    Flag::bool("socket-reuse-port", "false").help("Set SO_REUSEPORT on listeners."),
    Flag::bool("socket-reuse-address", "false")
        .accepted("set SO_REUSEADDR; it is always set, so that a restarted member gets its ports back")
        .help("Set SO_REUSEADDR on listeners."),
    Flag::bool("enable-grpc-gateway", "true")
        .accepted("turn the JSON gateway off; it is not served yet in any case")
        .help("Serve the JSON gateway."),
    Flag::duration("raft-read-timeout", "5s")
        .range("at least 5s")
        .accepted("bound reads on etcd's peer connections; peer links here follow the election timeout")
        .help("Read timeout of peer connections."),
    Flag::duration("raft-write-timeout", "5s")
        .range("at least 5s")
        .accepted("bound writes on etcd's peer connections; peer links here follow the election timeout")
        .help("Write timeout of peer connections."),
    Flag::new("feature-gates", Kind::Gates, "")
        .releases(Releases::Since36)
        .accepted("turn features on or off; each gate that is set says at the start what it would do")
        .help("Feature gates, as Name=true or Name=false, separated by commas."),
];

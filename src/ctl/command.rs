//! The table of commands and flags, and finding one's way in it: names, unambiguous prefixes, suggestions.

use super::flags::{Flag, Kind, flag, lossy, takes_next_word};

/// One command, or a group of them.
#[derive(Debug)]
pub(super) struct Command {
    pub name: &'static str,
    pub group: Group,
    /// What follows the name on a usage line.
    pub synopsis: &'static str,
    pub short: &'static str,
    /// Said instead of `short` in the command's own help, when not empty.
    pub long: &'static str,
    pub flags: &'static [Flag],
    /// Flags of all commands below this one.
    pub shared_flags: &'static [Flag],
    pub verb: Verb,
}

/// Under which title a command is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    KeyValue,
    Maintenance,
    Concurrency,
    Authentication,
    Utility,
    /// Below another command.
    None,
}

/// What a command does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    Group(&'static [Command]),
    /// A command of etcdctl that comes with a later release of ours.
    Later,
    Help,
    Options,
    Version,
    Get,
    Put,
    Delete,
    Txn,
    Watch,
    Compact,
    MemberAdd,
    MemberRemove,
    MemberUpdate,
    MemberList,
    MemberPromote,
    EndpointHealth,
    EndpointStatus,
    EndpointHashKv,
    MoveLeader,
    BenchPut,
    BenchRange,
    BenchVersusEtcd,
    DiscoveryServe,
}

impl Group {
    pub(super) const ALL: [(Group, &'static str); 5] = [
        (Group::KeyValue, "Key-value commands"),
        (Group::Maintenance, "Cluster maintenance commands"),
        (Group::Concurrency, "Concurrency commands"),
        (Group::Authentication, "Authentication commands"),
        (Group::Utility, "Utility commands"),
    ];
}

/// Flags of every command; each has a variable `ETCDCTL_NAME`.
pub(super) static GLOBAL_FLAGS: &[Flag] = &[
    flag(
        "auth-jwt-token",
        Kind::Text,
        "",
        "JWT token to authenticate with (instead of --user and --password)",
    ),
    flag("cacert", Kind::Text, "", "CA bundle that server certificates are verified against"),
    flag("cert", Kind::Text, "", "client certificate file"),
    flag("command-timeout", Kind::Duration, "5s", "time for a short command, connecting not counted"),
    flag("debug", Kind::Bool, "", "show every flag's value on standard error"),
    flag("dial-timeout", Kind::Duration, "2s", "time to connect"),
    Flag {
        name: "discovery-srv",
        short: Some('d'),
        kind: Kind::Text,
        default: "",
        usage: "domain whose SRV records name the endpoints",
    },
    flag("discovery-srv-name", Kind::Text, "", "ending of the service's name in those SRV records"),
    flag("endpoints", Kind::List, "127.0.0.1:2379", "gRPC endpoints"),
    flag("hex", Kind::Bool, "", "print byte strings as hexadecimal numbers"),
    flag("insecure-discovery", Kind::Bool, "true", "accept SRV records of plain-text endpoints"),
    flag("insecure-skip-tls-verify", Kind::Bool, "", "do not verify server certificates (for tests only)"),
    flag("insecure-transport", Kind::Bool, "true", "talk to the endpoints in plain text"),
    flag("keepalive-time", Kind::Duration, "2s", "time between keepalive pings; at least 10s is used"),
    flag("keepalive-timeout", Kind::Duration, "6s", "time to wait for a keepalive answer"),
    flag("key", Kind::Text, "", "client key file"),
    flag("max-recv-bytes", Kind::Int, "0", "largest answer in bytes (0: no limit)"),
    flag("max-request-bytes", Kind::Int, "0", "largest request in bytes (0: 2 MiB)"),
    flag("name-servers", Kind::Text, "", "name servers to ask, IP or IP:PORT,... (default: the system's)"),
    flag("password", Kind::Text, "", "password to authenticate with"),
    flag("user", Kind::Text, "", "NAME or NAME:PASSWORD to authenticate with"),
    Flag {
        name: "write-out",
        short: Some('w'),
        kind: Kind::Text,
        default: "simple",
        usage: "output format: fields, json, protobuf, simple or table",
    },
];

pub(super) static GET_FLAGS: &[Flag] = &[
    flag("consistency", Kind::Text, "l", "linearizable (l) or serializable (s)"),
    flag("count-only", Kind::Bool, "", "the number of keys only; needs --write-out=fields"),
    flag("from-key", Kind::Bool, "", "all keys from the given one on, in byte order"),
    flag("keys-only", Kind::Bool, "", "keys without values"),
    flag("limit", Kind::Int, "0", "largest number of results"),
    flag("max-create-rev", Kind::Int, "0", "only keys created up to this revision"),
    flag("max-mod-rev", Kind::Int, "0", "only keys modified up to this revision"),
    flag("min-create-rev", Kind::Int, "0", "only keys created from this revision on"),
    flag("min-mod-rev", Kind::Int, "0", "only keys modified from this revision on"),
    flag("order", Kind::Text, "", "ASCEND (default) or DESCEND"),
    flag("prefix", Kind::Bool, "", "all keys that begin with the given one"),
    flag("print-value-only", Kind::Bool, "", "values without keys; needs --write-out=simple"),
    flag("rev", Kind::Int, "0", "read at this revision"),
    flag("sort-by", Kind::Text, "", "CREATE, KEY, MODIFY, VALUE or VERSION"),
    flag("stream", Kind::Bool, "", "let the server send the answer in pieces (RangeStream)"),
];

pub(super) static PUT_FLAGS: &[Flag] = &[
    flag("ignore-lease", Kind::Bool, "", "keep the key's lease"),
    flag("ignore-value", Kind::Bool, "", "keep the key's value"),
    flag("lease", Kind::Text, "0", "lease (hexadecimal) to attach to the key"),
    flag("prev-kv", Kind::Bool, "", "also print the key as it was before"),
];

pub(super) static DELETE_FLAGS: &[Flag] = &[
    flag("from-key", Kind::Bool, "", "all keys from the given one on, in byte order"),
    flag("prefix", Kind::Bool, "", "all keys that begin with the given one"),
    flag("prev-kv", Kind::Bool, "", "also print the deleted keys"),
    flag("range", Kind::Bool, "", "delete a range without the pause for second thoughts"),
];

pub(super) static WATCH_FLAGS: &[Flag] = &[
    Flag {
        name: "interactive",
        short: Some('i'),
        kind: Kind::Bool,
        default: "",
        usage: "read watch requests from standard input",
    },
    flag("prefix", Kind::Bool, "", "all keys that begin with the given one"),
    flag("prev-kv", Kind::Bool, "", "also print the key as it was before"),
    flag("progress-notify", Kind::Bool, "", "also print the server's notes on its progress"),
    flag("rev", Kind::Int, "0", "start with the events of this revision"),
];

static TXN_FLAGS: &[Flag] = &[Flag {
    name: "interactive",
    short: Some('i'),
    kind: Kind::Bool,
    default: "",
    usage: "say what to type next",
}];

static COMPACT_FLAGS: &[Flag] =
    &[flag("physical", Kind::Bool, "", "wait until the old revisions are gone from the disk")];

static CONSISTENCY: &[Flag] = &[flag("consistency", Kind::Text, "l", "linearizable (l) or serializable (s)")];

static MEMBER_ADD_FLAGS: &[Flag] = &[
    flag("learner", Kind::Bool, "", "add it without a vote, to be promoted once it is in step"),
    flag("peer-urls", Kind::Text, "", "peer URLs of the new member, separated by commas"),
];

static MEMBER_UPDATE_FLAGS: &[Flag] =
    &[flag("peer-urls", Kind::Text, "", "new peer URLs of the member, separated by commas")];

static ENDPOINT_FLAGS: &[Flag] =
    &[flag("cluster", Kind::Bool, "", "all endpoints of the cluster's member list")];

static HASHKV_FLAGS: &[Flag] = &[flag("rev", Kind::Int, "0", "hash up to this revision (0: the latest)")];

/// What the load generator takes; the names are those of etcd's own benchmark tool.
static BENCH_FLAGS: &[Flag] = &[
    flag("conns", Kind::Int, "1", "connections"),
    flag("clients", Kind::Int, "1", "clients, each with one request in flight"),
    flag("rate", Kind::Int, "0", "requests per second at most (0: as many as go)"),
    flag("target-leader", Kind::Bool, "", "send everything to the leader"),
    flag(
        "server-pids",
        Kind::Text,
        "",
        "processes whose CPU is counted (default: those that listen on the endpoints' ports)",
    ),
    flag("json", Kind::Bool, "", "print the figures as JSON"),
];

static BENCH_PUT_FLAGS: &[Flag] = &[
    flag("total", Kind::Int, "10000", "requests in all"),
    flag("key-size", Kind::Int, "8", "bytes of a key"),
    flag("val-size", Kind::Int, "8", "bytes of a value"),
    flag("key-space-size", Kind::Int, "1", "how many different keys"),
    flag("sequential-keys", Kind::Bool, "", "take the keys in order instead of at random"),
];

static BENCH_RANGE_FLAGS: &[Flag] = &[
    flag("total", Kind::Int, "10000", "requests in all"),
    flag("consistency", Kind::Text, "l", "linearizable (l) or serializable (s)"),
    flag("limit", Kind::Int, "0", "largest number of results of one request"),
    flag("keys-only", Kind::Bool, "", "keys without values"),
    flag("count-only", Kind::Bool, "", "the number of keys only"),
];

static BENCH_VERSUS_FLAGS: &[Flag] = &[
    flag("etcd", Kind::Text, "etcd", "the etcd binary"),
    flag("kvorum", Kind::Text, "kvorum", "our server's binary"),
    flag(
        "out",
        Kind::Text,
        "",
        "markdown file whose measured part is written anew (default: standard output)",
    ),
    flag("rounds", Kind::Int, "2", "how often each server is measured, in alternation"),
    flag("seconds", Kind::Int, "240", "time for everything; work is cut to fit"),
];

static DISCOVERY_SERVE_FLAGS: &[Flag] = &[
    flag("listen", Kind::Text, "127.0.0.1:8087", "IP address and port to serve at"),
    flag("data-dir", Kind::Text, "kvorum.discovery", "folder for what is registered"),
    flag(
        "advertise-url",
        Kind::Text,
        "",
        "http://HOST:PORT in front of new tokens (default: what the asker called this service)",
    ),
];

const fn command(name: &'static str, synopsis: &'static str, short: &'static str, verb: Verb) -> Command {
    Command { name, group: Group::None, synopsis, short, long: "", flags: &[], shared_flags: &[], verb }
}

const fn later(name: &'static str, group: Group, short: &'static str) -> Command {
    Command { group, ..command(name, "", short, Verb::Later) }
}

static MEMBER: &[Command] = &[
    Command {
        flags: MEMBER_ADD_FLAGS,
        ..command("add", "<memberName> [options]", "Adds a member to the cluster", Verb::MemberAdd)
    },
    command("remove", "<memberID>", "Removes a member from the cluster", Verb::MemberRemove),
    Command {
        flags: MEMBER_UPDATE_FLAGS,
        ..command("update", "<memberID> [options]", "Changes the peer URLs of a member", Verb::MemberUpdate)
    },
    Command {
        flags: CONSISTENCY,
        long: "Lists the members: ID, status, name, peer addresses, client addresses, whether it is a learner.",
        ..command("list", "", "Lists the members of the cluster", Verb::MemberList)
    },
    command("promote", "<memberID>", "Makes a learner a voter", Verb::MemberPromote),
];

static ENDPOINT: &[Command] = &[
    command("health", "", "Tells which endpoints can commit a proposal", Verb::EndpointHealth),
    Command {
        long: "Tells of each endpoint: endpoint, ID, version, storage version, size, size in use, share not in use, quota,\n\
               is leader, is learner, Raft term, Raft index, applied index, errors, downgrade target, downgrade enabled.",
        ..command("status", "", "Tells the standing of each endpoint", Verb::EndpointStatus)
    },
    Command {
        flags: HASHKV_FLAGS,
        ..command("hashkv", "", "Tells the hash of each endpoint's key space", Verb::EndpointHashKv)
    },
];

static BENCH: &[Command] = &[
    Command {
        flags: BENCH_PUT_FLAGS,
        ..command("put", "", "Writes keys as fast as the cluster takes them", Verb::BenchPut)
    },
    Command {
        flags: BENCH_RANGE_FLAGS,
        ..command(
            "range",
            "<key> [range_end]",
            "Reads a key or a range of keys again and again",
            Verb::BenchRange,
        )
    },
    Command {
        flags: BENCH_VERSUS_FLAGS,
        ..command(
            "versus-etcd",
            "",
            "Measures three members of ours and three of etcd in alternation",
            Verb::BenchVersusEtcd,
        )
    },
];

static DISCOVERY: &[Command] = &[Command {
    flags: DISCOVERY_SERVE_FLAGS,
    long: "Serves a registry where the members of new clusters find each other (etcd's v2 discovery).\n\n\
           $ curl http://HOST:PORT/new?size=3\n\
           http://HOST:PORT/TOKEN\n\
           $ kvorum --discovery=http://HOST:PORT/TOKEN ...\n",
    ..command("serve", "[options]", "Serves a registry where members find each other", Verb::DiscoveryServe)
}];

/// Every command, in etcdctl's order, then ours.
pub(super) static COMMANDS: &[Command] = &[
    Command {
        group: Group::KeyValue,
        flags: GET_FLAGS,
        ..command("get", "[options] <key> [range_end]", "Gets a key or a range of keys", Verb::Get)
    },
    Command {
        group: Group::KeyValue,
        flags: PUT_FLAGS,
        long: "Puts a key. A value that is not on the line is read from standard input.\n\n\
               A value that begins with '-' goes after '--':\n\n\
               $ put <key> -- <value>",
        ..command("put", "[options] <key> <value> (or the value on standard input)", "Puts a key", Verb::Put)
    },
    Command {
        group: Group::KeyValue,
        flags: DELETE_FLAGS,
        ..command(
            "del",
            "[options] <key> [range_end]",
            "Deletes a key or a range of keys [key, range_end)",
            Verb::Delete,
        )
    },
    Command {
        group: Group::KeyValue,
        flags: TXN_FLAGS,
        long: "Reads one transaction from standard input: conditions, an empty line, the requests to carry out when all\n\
               of them hold, an empty line, those to carry out otherwise, an empty line.\n\n\
               mod(\"key1\") > \"0\"\n\n\
               put key1 \"overwritten\"\n\n\
               put key1 \"created\"\n",
        ..command("txn", "[options]", "Carries out requests in one transaction", Verb::Txn)
    },
    Command {
        group: Group::KeyValue,
        flags: COMPACT_FLAGS,
        ..command(
            "compaction",
            "[options] <revision>",
            "Forgets the history before a revision",
            Verb::Compact,
        )
    },
    later("alarm", Group::Maintenance, "Lists and disarms alarms"),
    later("defrag", Group::Maintenance, "Gives unused storage back"),
    Command {
        group: Group::Maintenance,
        long: "Commands about endpoints",
        shared_flags: ENDPOINT_FLAGS,
        ..command(
            "endpoint",
            "<subcommand>",
            "Tells health, status and hash of endpoints",
            Verb::Group(ENDPOINT),
        )
    },
    Command {
        group: Group::Maintenance,
        ..command(
            "move-leader",
            "<transferee-member-id>",
            "Hands leadership to another member",
            Verb::MoveLeader,
        )
    },
    Command {
        group: Group::KeyValue,
        flags: WATCH_FLAGS,
        ..command(
            "watch",
            "[options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
            "Shows changes of keys as they happen",
            Verb::Watch,
        )
    },
    Command { group: Group::Utility, ..command("version", "", "Prints versions", Verb::Version) },
    later("lease", Group::KeyValue, "Grants, renews and revokes leases"),
    Command {
        group: Group::Maintenance,
        long: "Commands about members",
        ..command(
            "member",
            "<subcommand>",
            "Lists, adds, removes, changes and promotes members",
            Verb::Group(MEMBER),
        )
    },
    later("snapshot", Group::Maintenance, "Saves the key space to a file"),
    later("make-mirror", Group::Utility, "Copies keys to another cluster as they change"),
    later("lock", Group::Concurrency, "Holds a named lock"),
    later("elect", Group::Concurrency, "Takes part in an election"),
    later("auth", Group::Authentication, "Turns authentication on and off"),
    later("user", Group::Authentication, "Manages users"),
    later("role", Group::Authentication, "Manages roles"),
    later("check", Group::Utility, "Checks what a cluster can carry"),
    later("completion", Group::Utility, "Writes a completion script for a shell"),
    later("downgrade", Group::Maintenance, "Prepares a cluster for an older version"),
    Command {
        group: Group::Utility,
        ..command("options", "", "Lists the flags of all commands", Verb::Options)
    },
    Command { group: Group::Utility, ..command("help", "[command]", "Explains a command", Verb::Help) },
    Command {
        group: Group::Utility,
        long: "Load generators",
        shared_flags: BENCH_FLAGS,
        ..command("bench", "<subcommand>", "Measures a cluster", Verb::Group(BENCH))
    },
    Command {
        group: Group::Utility,
        long: "Discovery of members",
        ..command(
            "discovery",
            "<subcommand>",
            "Helps members of a new cluster find each other",
            Verb::Group(DISCOVERY),
        )
    },
];

/// The way to a command: it and the groups above it, outermost first.
pub(super) type Path = Vec<&'static Command>;

/// Where a line leads.
#[derive(Debug)]
pub(super) struct Found {
    /// Empty for the program itself.
    pub path: Path,
    /// The line without the names of `path`.
    pub line: Vec<Vec<u8>>,
}

/// All flags that apply below `path`.
pub(super) fn flags_of(path: &[&'static Command]) -> Vec<&'static Flag> {
    let own = path.last().map_or(&[][..], |command| command.flags);
    own.iter().chain(inherited_flags(path)).collect()
}

/// Flags that come from above the command itself: those that variables may set.
pub(super) fn inherited_flags(path: &[&'static Command]) -> impl Iterator<Item = &'static Flag> {
    path.iter().flat_map(|command| command.shared_flags).chain(GLOBAL_FLAGS)
}

/// Follows names from the start of a line. The error is the name that is no command.
pub(super) fn find(line: &[Vec<u8>]) -> Result<Found, String> {
    let mut found = Found { path: Vec::new(), line: line.to_vec() };
    let mut candidates = COMMANDS;
    while let Some(at) = next_name(&found) {
        let name = lossy(&found.line[at]);
        let Some(next) = by_name(candidates, &name) else {
            // A group shows its help when it is given a name it does not know.
            return if found.path.is_empty() { Err(name) } else { Ok(found) };
        };
        found.line.remove(at);
        found.path.push(next);
        match next.verb {
            Verb::Group(children) => candidates = children,
            _ => break,
        }
    }
    Ok(found)
}

/// The position of the next word that is neither a flag nor a flag's value.
fn next_name(found: &Found) -> Option<usize> {
    let flags = flags_of(&found.path);
    let mut skip = false;
    for (at, word) in found.line.iter().enumerate() {
        let word = lossy(word);
        if std::mem::take(&mut skip) {
            continue;
        }
        if word == "--" {
            return None;
        }
        if takes_next_word(&word, &flags) {
            skip = true;
        } else if !word.starts_with('-') && !word.is_empty() {
            return Some(at);
        }
    }
    None
}

/// The command of that name, or the only one that begins so.
fn by_name(candidates: &'static [Command], name: &str) -> Option<&'static Command> {
    let exact = candidates.iter().find(|command| command.name == name);
    let mut beginning = candidates.iter().filter(|command| command.name.starts_with(name));
    exact.or_else(|| beginning.next().filter(|_| beginning.next().is_none()))
}

/// Commands that may have been meant.
pub(super) fn suggestions(name: &str) -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.name).filter(move |candidate| {
        candidate.starts_with(&name.to_lowercase()) || distance(name, candidate) <= 2
    })
}

/// How many letters must be added, taken away or changed.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').filter(|word| !word.is_empty()).map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn commands_are_found_behind_flags_and_by_prefix() {
        for (line, path, rest) in [
            ("get a", "get", "a"),
            ("--endpoints get -w json put a b", "put", "--endpoints get -w json a b"),
            ("--hex get a", "get", "--hex a"),
            ("me list", "member list", ""),
            ("endpoint --cluster stat", "endpoint status", "--cluster"),
            ("member nosuch", "member", "nosuch"),
            ("", "", ""),
        ] {
            let found = find(&words(line)).unwrap();
            let names: Vec<_> = found.path.iter().map(|command| command.name).collect();
            assert_eq!((names.join(" ").as_str(), found.line), (path, words(rest)), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_brings_suggestions() {
        assert_eq!(find(&words("comp 1")).unwrap_err(), "comp");
        assert_eq!(suggestions("comp").collect::<Vec<_>>(), ["compaction", "completion"]);
        assert_eq!(suggestions("gett").collect::<Vec<_>>(), ["get"]);
        assert_eq!(suggestions("e").collect::<Vec<_>>(), ["get", "del", "endpoint", "elect"]);
    }

    #[test]
    fn no_two_flags_of_a_command_have_one_name() {
        fn check(path: &mut Path, commands: &'static [Command]) {
            for command in commands {
                path.push(command);
                let mut names: Vec<_> = flags_of(path).iter().map(|flag| flag.name).collect();
                names.sort_unstable();
                let count = names.len();
                names.dedup();
                assert_eq!(names.len(), count, "{}", command.name);
                if let Verb::Group(children) = command.verb {
                    check(path, children);
                }
                path.pop();
            }
        }
        check(&mut Vec::new(), COMMANDS);
    }
}

//! The absences of ARCHITECTURE.md, room by room.

use crate::source::{self, Source};

/// What a rule forbids, where, and why.
struct Rule {
    what: &'static str,
    /// Any of these in a line of code breaks the rule.
    words: &'static [&'static str],
    /// Paths (prefixes) the rule looks at; empty is all.
    within: &'static [&'static str],
    /// Paths (prefixes) that may.
    except: &'static [&'static str],
}

const PURE: &[&str] = &[
    "mvcc/",
    "membership/",
    "apply/",
    "flags/",
    "operator/validate",
    "operator/plan",
    "operator/build",
    "operator/report",
    "operator/observed.rs",
    "operator/step.rs",
    "operator/arguments.rs",
];

const RULES: &[Rule] = &[
    Rule {
        what: "a pure room holds no async",
        words: &["async ", ".await", "tokio::", "futures::"],
        within: PURE,
        except: &[],
    },
    Rule {
        what: "a pure room holds no clock",
        words: &["Instant::now", "SystemTime", "jiff::Timestamp::now", "Timestamp::now", "clock::"],
        within: PURE,
        except: &[],
    },
    Rule { what: "a pure room holds no randomness", words: &["rand::"], within: PURE, except: &[] },
    Rule {
        what: "a pure room holds no client",
        words: &["kube::Client", "kube::Api", "crate::client", "tonic::"],
        within: PURE,
        except: &[],
    },
    Rule {
        what: "only rpc names tonic::Status (client and ctl see the ones they receive)",
        words: &["tonic::Status", "Status::new(", "tonic::{Status"],
        within: &[],
        except: &["rpc/", "client/", "ctl/"],
    },
    Rule { what: "only raft names openraft", words: &["openraft"], within: &[], except: &["raft/"] },
    Rule {
        what: "only storage opens data files (documents are read in server, ctl, telemetry and the operator's local platform)",
        words: &["std::fs", "tokio::fs", "fs::File", "File::open", "File::create", "OpenOptions"],
        within: &[],
        except: &[
            "storage/",
            "server/",
            "ctl/",
            "telemetry/",
            "flags/file.rs",
            "operator/platform/local/",
            "bin/",
            "proto/build.rs",
        ],
    },
    Rule {
        what: "only observe, platform and controller hold a kube client",
        words: &["kube::Client", "kube::Api", "kube::{Api", "kube::{Client", "kube::runtime"],
        within: &[],
        except: &["operator/observe.rs", "operator/platform/kubernetes", "operator/controller", "bin/"],
    },
];

/// Which rooms a room may name with `crate::`. What two floors share lies under both.
/// Read downwards: nothing names a room below its own line, but for what is listed.
const EDGES: &[(&str, &[&str])] = &[
    ("types.rs", &[]),
    ("clock.rs", &[]),
    ("proto", &[]),
    ("flags", &["types"]),
    ("telemetry", &["types", "clock", "flags", "membership"]),
    ("storage", &["types", "clock", "telemetry"]),
    ("mvcc", &["types"]),
    ("membership", &["types"]),
    ("apply", &["types", "mvcc", "membership", "proto"]),
    ("raft", &["types", "clock", "telemetry", "storage", "mvcc", "membership", "apply"]),
    ("watch", &["types", "clock", "telemetry", "mvcc"]),
    (
        "bootstrap",
        &["types", "clock", "telemetry", "storage", "membership", "raft", "flags", "client", "proto"],
    ),
    (
        "rpc",
        &[
            "types",
            "clock",
            "flags",
            "telemetry",
            "mvcc",
            "membership",
            "apply",
            "raft",
            "watch",
            "bootstrap",
            "proto",
        ],
    ),
    (
        "server",
        &[
            "types",
            "clock",
            "flags",
            "telemetry",
            "storage",
            "mvcc",
            "membership",
            "apply",
            "raft",
            "watch",
            "bootstrap",
            "rpc",
            "client",
        ],
    ),
    ("client", &["types", "proto", "clock"]),
    ("ctl", &["types", "proto", "client", "flags", "clock", "storage"]),
    ("api", &["types", "flags"]),
    ("operator", &["types", "clock", "flags", "telemetry", "client", "api", "proto"]),
    ("bin", &["*"]),
    ("lib.rs", &["*"]),
];

#[test]
fn every_room_keeps_its_absences() {
    let mut broken = Vec::new();
    for file in source::all() {
        for rule in RULES {
            check(&file, rule, &mut broken);
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

fn check(file: &Source, rule: &Rule, broken: &mut Vec<String>) {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| file.path.starts_with(prefix));
    if starts(rule.except) || (!rule.within.is_empty() && !starts(rule.within)) {
        return;
    }
    for (number, line) in file.code.iter().enumerate() {
        if let Some(word) = rule.words.iter().find(|word| line.contains(**word)) {
            broken.push(format!("src/{}:{}: `{word}`: {}", file.path, number + 1, rule.what));
        }
    }
}

#[test]
fn no_arrow_runs_back_up() {
    let mut broken = Vec::new();
    for file in source::all() {
        let room = file.path.split('/').next().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == room) else {
            broken.push(format!("src/{}: the room `{room}` is not in the table of edges", file.path));
            continue;
        };
        let own = room.trim_end_matches(".rs");
        for (number, line) in file.code.iter().enumerate() {
            for named in rooms_named(line) {
                if named != own && !allowed.contains(&"*") && !allowed.contains(&named.as_str()) {
                    broken.push(format!("src/{}:{}: `{own}` may not name `{named}`", file.path, number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

fn rooms_named(line: &str) -> Vec<String> {
    let name = |rest: &str| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned()
    };
    line.split("crate::").skip(1).map(name).filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_file_says_what_it_is_and_holds_one_subject() {
    let mut broken = Vec::new();
    for file in source::all() {
        if !file.text.starts_with("//!") {
            broken.push(format!("src/{}: does not begin with what it is (//!)", file.path));
        }
        if file.text.lines().count() > 900 {
            broken.push(format!("src/{}: longer than 900 lines, so it has two subjects", file.path));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let words = ["todo!(", "unimplemented!(", "FIXME", "TODO", "XXX", "#[ignore", "#[allow("];
    let mut broken = Vec::new();
    for file in source::all().iter().filter(|file| file.path != "proto/mod.rs") {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                broken.push(format!("src/{}:{}: `{word}`", file.path, number + 1));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_rules_can_fail() {
    let text = "use openraft::Raft;\n// openraft in a comment\nlet a = \"openraft\";\n";
    let code =
        text.lines().map(|line| line.split("//").next().unwrap().replace("\"openraft\"", "")).collect();
    let file = Source { path: "mvcc/store.rs".to_owned(), text: text.to_owned(), code };
    let mut broken = Vec::new();
    RULES.iter().for_each(|rule| check(&file, rule, &mut broken));
    assert_eq!(broken.len(), 1, "{broken:?}");
}

//! `kvorumctl` beside real etcdctl: the same lines, the same servers, and byte for byte the same answers;
//! and our server beside real etcd: the same tools, the same lines, the same answers.
//!
//! A story is a list of command lines. It is told again and again, each time to a cluster that starts anew at
//! the same addresses, so that identities and revisions are the same: to real etcd and to our server, by
//! etcdctl 3.7.3, by etcdctl 3.5, and by ours under the name `etcdctl`. Lines that only read are told by two
//! tools, in both orders, to the same server as well. Standard output, standard error and exit code must be
//! equal; times, terms, and identities of members that are added, differ by nature and are masked.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "other test binaries pause members and judge histories")]
mod common;

mod server;
mod story;
mod tool;

use story::{Step, tell, tell_alone};

const FORMATS: [&str; 5] = ["simple", "table", "json", "fields", "protobuf"];

/// Each line once for each output format.
fn in_all_formats(steps: &[Step]) -> Vec<Step> {
    FORMATS.iter().flat_map(|format| steps.iter().map(|step| step.clone().arg("-w").arg(format))).collect()
}

fn run(line: &str) -> Step {
    Step::line(line)
}

fn read(line: &str) -> Step {
    Step::line(line).only_reads()
}

#[test]
fn keys_are_read_and_written() {
    let steps = in_all_formats(&[
        run("put a 1"),
        run("put a 2 --prev-kv"),
        run("put ab").stdin("from standard input\n"),
        run("put b").bytes(b"\xff\x00\"\\\t\x1b'"),
        run("put").bytes("clé é\u{2028}\u{a0}😀".as_bytes()).arg("<&>"),
        run("put -- -dash -value"),
        run("put a --ignore-value --ignore-lease --prev-kv"),
        read("get a"),
        read("get a --hex"),
        read("get --prefix a"),
        read("get --prefix").arg(""),
        read("get --prefix --keys-only").arg(""),
        read("get --from-key ab --limit 2"),
        read("get --from-key --limit=1").arg(""),
        read("get a c --order=descend --sort-by=modify"),
        read("get a c --order ASCEND --sort-by VERSION --limit 1"),
        read("get a c --order=ascend"),
        read("get a --rev 2"),
        read("get --prefix a --min-mod-rev 3 --max-mod-rev 100"),
        read("get --prefix a --min-create-rev 2 --max-create-rev 2"),
        read("get a --consistency s"),
        read("get a --count-only"),
        read("get a --print-value-only"),
        read("get --prefix a --stream"),
        read("get --prefix a --stream --limit 1"),
        read("get nosuchkey"),
        read("get a b c"),
        read("ge a"),
        run("del nosuchkey"),
        run("del ab --prev-kv"),
        run("del --prefix b --prev-kv"),
        run("del a b --range --prev-kv --hex"),
        run("del --from-key --prev-kv").arg(""),
    ]);
    tell(1, &steps);
}

#[test]
fn errors_of_the_server_are_told_in_its_words() {
    tell(
        1,
        &[
            run("put").arg("").arg("value"),
            run("put a 1"),
            run("put a 2"),
            run("put a b --lease=1f"),
            run("put nosuchkey --ignore-value"),
            read("get a --rev 1000"),
            run("compaction 3"),
            run("compaction 3"),
            run("compaction 1000"),
            run("compaction 3 --physical"),
            run("put a 3"),
            run("compaction 4 --physical -w json"),
            read("get a --rev 2"),
            read("endpoint hashkv --rev 1000"),
            read("endpoint hashkv --rev 1"),
            run("member remove 123"),
            run("member update 123 --peer-urls=http://127.0.0.1:1"),
            run("member promote 123"),
            run("member promote {first}"),
            run("move-leader 123"),
            run("txn").stdin("\nput a b\nput a c\n\n\n"),
            read("get").arg("k".repeat(100_000).as_str()).arg("--max-request-bytes=1000"),
        ],
    );
}

#[test]
fn transactions_are_read_from_standard_input() {
    let txn = |text: &str| run("txn").stdin(text);
    let steps = in_all_formats(&[
        txn(
            "value(\"a\") = \"1\"\n\nput a 2 --prev-kv\nget a\ndel a --prev-kv\n\nput a 1 --prev-kv\nget --prefix a\n\n",
        ),
        txn(
            "mod(\"a\") > \"0\"\ncreate(\"a\") > \"0\"\nver( \"a\")   !=   \"9\" rest\n\nput a 2\nget a\n\nput a 3\n\n",
        ),
        txn("c(\"a\") < \"1\"\n\n\nput 'x y' \"z\\x41\\n\"\nget \"x y\"\n\n"),
        txn("value(`a`) = `1`\n\n\n\n"),
        txn("\n\n\n"),
        txn("\nget\ta  --limit=1\n\n\n"),
        txn("\ndel a z --range\n\n\n"),
    ]);
    tell(1, &steps);
    let words: Vec<_> = [
        "",
        "value(\"a\") = \"1\"",
        "foo\n\n\n\n",
        "value(\"a\" = \"1\"\n\n\n\n",
        "value(\"a\")= \"1\"\n\n\n\n",
        "value(\"a\") =\"1\"\n\n\n\n",
        "value(\"a\") = 1\n\n\n\n",
        "value(\"a\") = \"1\n\n\n\n",
        "value(\"a\\x41\") = \"1\\q\"\n\n\n\n",
        "valu(\"a\") = \"1\"\n\n\n\n",
        "value (\"a\") = \"1\"\n\n\n\n",
        "ver(\"a\") = \"x\"\n\n\n\n",
        "\nput\n\n\n",
        "\nputt a b\n\n\n",
        "\nput a b --foo\n\n\n",
        "\nput a\n\n\n",
        "\nput \"a\\q\" b\n\n\n",
        "\nput a b --lease=zz\n\n\n",
        "\nget a --order=up\n\n\n",
    ]
    .into_iter()
    .map(txn)
    .chain([run("txn foo"), run("txn --interactive").stdin("mod(\"a\") > \"0\"\n\nput a 2\n\n\n")])
    .collect();
    tell(1, &words);
}

#[test]
fn watches_show_what_happened() {
    // The command fails at the last event, which ends the watch in every format.
    let script = r#"echo "$ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"; test "$ETCD_WATCH_VALUE" != '"last"'"#;
    let until_last = |line: &str| run(line).arg("--").arg("sh").arg("-c").arg(script);
    let mut steps = vec![run("put w 1"), run("put w 2"), run("del w"), run("put wx 3"), run("put w last")];
    for format in FORMATS {
        steps.extend([
            until_last(&format!("watch w --rev 2 -w {format}")),
            until_last(&format!("watch w --rev 2 --prev-kv --hex -w {format}")),
            until_last(&format!("watch --prefix w --rev=4 -w {format}")),
            until_last(&format!("watch w x --rev 6 -w {format}")),
            run(&format!("watch w a -w {format}")),
        ]);
    }
    steps.extend([
        until_last("watch --rev 6 --prefix").env("ETCDCTL_WATCH_KEY", "w"),
        until_last("watch --rev 6").env("ETCDCTL_WATCH_KEY", "w").env("ETCDCTL_WATCH_RANGE_END", "x"),
        run("watch w --rev 2 -- false"),
        run("watch w --rev 2 -- /nonexistent"),
        run("watch w --rev 2 -- nonexistent-program"),
        run("watch -i").stdin("foo\n\nwatch\nwatch w --prefix x\n"),
        run("watch -i").stdin("watch w --\n"),
        run("watch -i").stdin("watch w --foo\n"),
        run("watch -i").stdin("watch w --rev 6 -- sh -c 'exit 7'\n").keep_stdin_open(),
        run("watch -i").stdin("watch w\nprogress\n").until("progress notify"),
        run("watch -i -w json").stdin("watch w\nprogress\n").until("\"Events\""),
        run("compaction 5"),
    ]);
    steps.extend(FORMATS.map(|format| run(&format!("watch w --rev 3 -w {format}"))));
    tell(1, &steps);
}

#[test]
fn members_are_listed_and_changed() {
    // Etcd makes a member's identity of its URLs and the second: no two of these share their URLs.
    let steps = FORMATS.iter().zip(10..).flat_map(|(format, port)| {
        let url = |path: u16| format!("http://127.0.0.1:{port}{path}");
        let (first, second, third, fourth) = (url(1), url(2), url(3), url(4));
        [
            read("member list"),
            read("member list --consistency=s"),
            read("member list --hex"),
            run(&format!("member add n1 --learner --peer-urls={first},{second}")),
            read("member list").alone(),
            read("member list --hex").alone(),
            run(&format!("member add n2 --learner --peer-urls={third}")),
            run("member promote {new}"),
            run(&format!("member update {{new}} --peer-urls={fourth} --hex")),
            run("member remove {new} --hex"),
            run("member remove {new}"),
            run(&format!("member add n1 --learner --hex --peer-urls={second}")),
            run(&format!("member update {{new}} --peer-urls={first}")),
            run("member remove {new}"),
            run("member add again --peer-urls={peer-url}"),
        ]
        .map(|step| step.arg("-w").arg(format))
    });
    // A voter that never starts costs a single member its quorum: nothing can follow.
    let last = run("member add last --peer-urls=http://127.0.0.1:1");
    tell(1, &steps.chain([last]).collect::<Vec<_>>());
}

#[test]
fn endpoints_are_asked_one_by_one() {
    let mut steps = vec![run("put a 1")];
    steps.extend(in_all_formats(&[
        read("endpoint status").alone(),
        read("endpoint status --cluster").alone(),
        read("endpoint status --hex").alone(),
        read("endpoint health"),
        read("endpoint health --cluster"),
        read("endpoint hashkv"),
        read("endpoint hashkv --cluster --rev=2"),
        read("endpoint health --command-timeout=100ms --endpoints=127.0.0.1:1"),
        read("endpoint status --command-timeout=100ms --endpoints=127.0.0.1:1,{first-endpoint}").alone(),
        read("endpoint hashkv --command-timeout=100ms --endpoints=127.0.0.1:1"),
        read("endpoint health --cluster --command-timeout=100ms --endpoints=127.0.0.1:1"),
    ]));
    steps
        .extend(FORMATS.map(|format| run(&format!("move-leader {{a-follower}} -w {format}")).moves_leader()));
    steps.push(read("move-leader {a-follower} --endpoints={a-follower-endpoint}").alone());
    tell(3, &steps);
}

#[test]
fn lines_that_cannot_be_understood_are_refused_alike() {
    let variables = [
        run("get a --endpoints=127.0.0.1:1").env("ETCDCTL_ENDPOINTS", "127.0.0.1:2"),
        run("get a --command-timeout=200ms --endpoints=127.0.0.1:1").env("ETCDCTL_WRITE_OUT", "yaml"),
        run("endpoint status --endpoints=127.0.0.1:1").env("ETCDCTL_COMMAND_TIMEOUT", "200ms"),
        run("watch x").env("ETCDCTL_WATCH_KEY", "w"),
        run("watch x").env("ETCDCTL_WATCH_RANGE_END", "w"),
    ];
    let lines = [
        "version",
        "version x",
        "get",
        "get a b --prefix",
        "get a --prefix --from-key",
        "get a --keys-only --count-only",
        "get a --order=up",
        "get a --sort-by=size",
        "get a --consistency=x",
        "get a -w yaml",
        "get a --min-mod-rev 5 --max-mod-rev 3",
        "get a --min-create-rev 5 --max-create-rev 3",
        "get a --nosuch",
        "get -x a",
        "get -ix a",
        "get a --limit=x",
        "get a --limit",
        "get a -w",
        "get a --limit=99999999999999999999",
        "get a --prefix=x",
        "get ---x",
        "get --=x",
        "get a --dial-timeout=1",
        "get a --dial-timeout=5y",
        "put",
        "put a b --lease=zz",
        "put a b --ignore-value",
        "del",
        "del a b c",
        "del a --prefix --from-key",
        "del a b --prefix",
        "compaction",
        "compaction x",
        "compaction 1 2",
        "member add",
        "member add x",
        "member add a http://x",
        "member add a b",
        "member add a --peer-urls=foo",
        "member add a --peer-urls=http://a",
        "member add a --peer-urls=http://a:b",
        "member add a --peer-urls=http://a:1/x",
        "member add a --peer-urls=127.0.0.1:1",
        "member add a --peer-urls=,",
        "member remove",
        "member remove zz",
        "member remove 0x12",
        "member remove 1 2",
        "member update 123",
        "member update zz --peer-urls=x",
        "member update 1 --peer-urls=foo",
        "member promote",
        "member promote zz",
        "move-leader",
        "move-leader zz",
        "move-leader 1 2",
        "watch",
        "watch w x --prefix",
        "watch w --",
        "watch --prefix",
        "nosuch",
        "nosuch get",
        "comp 1",
        "gett a",
        "e",
        "--nosuch",
        "get a --command-timeout=200ms --endpoints=127.0.0.1:1",
        "put a b --command-timeout=200ms --endpoints=127.0.0.1:1",
        "member list --command-timeout=200ms --endpoints=127.0.0.1:1",
        "move-leader 1 --command-timeout=200ms --endpoints=127.0.0.1:1",
        "get a --endpoints=",
        "put a",
    ];
    let steps: Vec<_> = lines.iter().map(|line| run(line)).chain(variables).collect();
    tell_alone(&steps);
}

//! Flags and variables of all commands, made into a client and an output format.

use std::time::Duration;

use super::command::{Command, inherited_flags};
use super::discovery;
use super::fail::{Exit, Failure};
use super::flags::Parsed;
use super::print::Format;
use crate::client::{Client, Names, Timeouts};

/// What was asked of all commands alike.
#[derive(Clone, Debug)]
pub(super) struct Globals {
    pub endpoints: Vec<String>,
    pub timeouts: Timeouts,
    names: Names,
    pub format: Format,
    pub hex: bool,
    request_bytes_max: Option<usize>,
    answer_bytes_max: Option<usize>,
}

/// The environment, sorted by name.
pub(super) type Environment = Vec<(String, String)>;

/// The variable that sets a flag.
pub(super) fn variable(flag: &str) -> String {
    format!("ETCDCTL_{}", flag.to_uppercase().replace('-', "_"))
}

/// Lets variables set the flags that the line did not set. Returns lines for standard error: a variable that
/// means nothing is told; one that the line contradicts ends the program.
pub(super) fn apply_environment(
    flags: &mut Parsed,
    path: &[&'static Command],
    environment: &Environment,
) -> Result<Vec<String>, Failure> {
    let known: Vec<_> = inherited_flags(path).map(|flag| (variable(flag.name), flag.name)).collect();
    // It reads two more variables itself.
    let is_watch = path.last().is_some_and(|command| command.name == "watch");
    let mut notes = Vec::new();
    for (name, value) in environment.iter().filter(|(name, _)| name.starts_with("ETCDCTL_")) {
        match known.iter().find(|(variable, _)| variable == name) {
            Some((_, flag)) if flags.changed(flag) => {
                return Err(Failure {
                    exit: Exit::Failed,
                    text: log_line(
                        "fatal",
                        "conflicting environment variable is shadowed by corresponding command-line flag (either unset \
                         environment variable or disable flag))",
                        &[("environment-variable", name)],
                    ),
                });
            }
            Some((_, flag)) if !value.is_empty() => flags.set_quietly(flag, value),
            None if is_watch && (name == super::watch::KEY || name == super::watch::RANGE_END) => {}
            Some(_) | None => notes.push(log_line(
                "warn",
                "unrecognized environment variable",
                &[("environment-variable", &format!("{name}={value}"))],
            )),
        }
    }
    Ok(notes)
}

/// One line of a log as etcd's tools write it.
pub(super) fn log_line(level: &str, message: &str, fields: &[(&str, &str)]) -> String {
    let ts = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let fields = [("level", level), ("ts", &ts), ("msg", message)].into_iter().chain(fields.iter().copied());
    let fields: Vec<_> =
        fields.map(|(name, value)| format!("\"{name}\":{}", serde_json::Value::from(value))).collect();
    format!("{{{}}}\n", fields.join(","))
}

impl Globals {
    /// Reads the flags after the environment was applied.
    pub(super) fn read(flags: &Parsed) -> Result<Globals, Failure> {
        refuse_what_is_not_served(flags)?;
        let format = flags
            .text("write-out")
            .parse()
            .map_err(|()| Failure::new(Exit::BadFeature, "unsupported output format"))?;
        let nanos = |name| Duration::from_nanos(u64::try_from(flags.duration(name)).unwrap_or_default());
        let limit = |name| usize::try_from(flags.int(name)).ok().filter(|limit| *limit > 0);
        let (request, answer) = (limit("max-request-bytes"), limit("max-recv-bytes"));
        if let (Some(request), Some(answer)) = (request, answer)
            && request > answer
        {
            return Err(Failure::new(
                Exit::BadConnection,
                format!(
                    "gRPC message recv limit ({answer} bytes) must be greater than send limit ({request} bytes)"
                ),
            ));
        }
        Ok(Globals {
            endpoints: flags.list("endpoints").iter().map(|endpoint| endpoint.trim().to_owned()).collect(),
            timeouts: Timeouts { dial: nanos("dial-timeout"), call: nanos("command-timeout") },
            names: discovery::names(flags.text("name-servers"))?,
            format,
            hex: flags.bool("hex"),
            request_bytes_max: request,
            answer_bytes_max: answer,
        })
    }

    pub(super) fn client(&self) -> Result<Client, Failure> {
        self.client_of(&self.endpoints)
    }

    pub(super) fn client_of(&self, endpoints: &[String]) -> Result<Client, Failure> {
        let client = Client::connect_by(self.names.clone(), endpoints, self.timeouts)?.patient(true);
        Ok(match (self.request_bytes_max, self.answer_bytes_max) {
            (None, None) => client,
            (request, answer) => {
                client.with_message_limits(request.unwrap_or(2 * 1024 * 1024), answer.unwrap_or(usize::MAX))
            }
        })
    }
}

/// Flags that promise security end the program until they keep the promise: a password or a
/// certificate must never lead to plain text without one.
fn refuse_what_is_not_served(flags: &Parsed) -> Result<(), Failure> {
    const TLS: &str = "TLS is not spoken yet by this release";
    const AUTHENTICATION: &str = "authentication is not spoken yet by this release";
    let texts = [
        ("cacert", TLS),
        ("cert", TLS),
        ("key", TLS),
        ("user", AUTHENTICATION),
        ("password", AUTHENTICATION),
        ("auth-jwt-token", AUTHENTICATION),
    ];
    for (name, why) in texts {
        if flags.changed(name) && flags.text(name).is_empty() && why == TLS {
            return Err(Failure::bad_args(format!("empty string is passed to --{name} option")));
        }
        if !flags.text(name).is_empty() {
            return Err(Failure::bad_args(format!("--{name} cannot be used: {why}")));
        }
    }
    if flags.bool("insecure-skip-tls-verify") || !flags.bool("insecure-transport") {
        let name = if flags.bool("insecure-transport") {
            "insecure-skip-tls-verify"
        } else {
            "insecure-transport=false"
        };
        return Err(Failure::bad_args(format!("--{name} cannot be used: {TLS}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::command::{COMMANDS, flags_of};

    fn parsed(line: &str) -> (Parsed, Vec<&'static Command>) {
        let path = vec![&COMMANDS[0]];
        let words: Vec<_> = line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
        (Parsed::new(flags_of(&path)).parse(&words).unwrap(), path)
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_promises_security_is_refused_until_it_is_kept() {
        for line in [
            "--cert=a",
            "--key=a",
            "--cacert=a",
            "--insecure-transport=false",
            "--insecure-skip-tls-verify",
            "--user=root:secret",
            "--password=secret",
            "--auth-jwt-token=secret",
        ] {
            let failure = Globals::read(&parsed(line).0).unwrap_err();
            let name = line.split_once('=').map_or(line, |(name, _)| name);
            assert!(failure.exit == Exit::BadArgs && failure.text.contains(name), "{line}: {failure:?}");
            assert!(!failure.text.contains("secret"), "{line}: {failure:?}");
        }
    }

    #[test]
    fn variables_set_what_the_line_does_not() {
        let (mut flags, path) = parsed("a");
        let variables = environment(&[
            ("ETCDCTL_COMMAND_TIMEOUT", "nonsense"),
            ("ETCDCTL_ENDPOINTS", "a:1,b:2"),
            ("ETCDCTL_WRITE_OUT", "json"),
            ("HOME", "/root"),
        ]);
        assert_eq!(apply_environment(&mut flags, &path, &variables), Ok(Vec::new()));
        let globals = Globals::read(&flags).unwrap();
        assert_eq!(
            (globals.endpoints, globals.format),
            (vec!["a:1".to_owned(), "b:2".to_owned()], Format::Json)
        );
        assert_eq!(globals.timeouts, Timeouts::default());
    }

    #[test]
    fn a_variable_that_the_line_contradicts_ends_the_program() {
        let (mut flags, path) = parsed("--endpoints=c:3");
        let failure =
            apply_environment(&mut flags, &path, &environment(&[("ETCDCTL_ENDPOINTS", "a:1")])).unwrap_err();
        assert!(
            failure.text.contains("shadowed") && failure.text.contains("ETCDCTL_ENDPOINTS"),
            "{failure:?}"
        );
    }

    #[test]
    fn a_variable_that_means_nothing_is_told() {
        let (mut flags, path) = parsed("a");
        let notes = apply_environment(&mut flags, &path, &environment(&[("ETCDCTL_API", "3")])).unwrap();
        assert!(
            notes[0].contains("unrecognized environment variable") && notes[0].contains("ETCDCTL_API=3"),
            "{notes:?}"
        );
    }
}

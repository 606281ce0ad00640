//! Texts as Go programs write and read them: quoted strings, numbers, durations, sizes.
//!
//! Scripts compare what etcdctl prints byte for byte, and its texts are those of Go's standard library.

use std::fmt::Write;

/// A byte string in double quotes, as Go's `%q`: valid printable UTF-8 as it is, the rest escaped.
pub(super) fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            quote_char(&mut out, char);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

fn quote_char(out: &mut String, char: char) {
    match char {
        '"' | '\\' => out.extend(['\\', char]),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        char if is_printable(char) => out.push(char),
        char => {
            let code = u32::from(char);
            let _ = match code {
                0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
                0x80..0x10000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
        }
    }
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(char: char) -> bool {
    // The standard library escapes marks only at the start of a string, so one letter goes before.
    let text: String = ['x', char].iter().collect();
    char == '\'' || text.escape_debug().nth(1) == Some(char)
}

/// The bytes that a Go string literal (with its quotes) stands for.
pub(super) fn unquote(literal: &[u8]) -> Option<Vec<u8>> {
    match literal {
        [b'`', raw @ .., b'`'] if !raw.contains(&b'`') => {
            Some(raw.iter().copied().filter(|byte| *byte != b'\r').collect())
        }
        [b'"', body @ .., b'"'] => unquote_body(body),
        _ => None,
    }
}

fn unquote_body(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len());
    while let Some((&first, rest)) = body.split_first() {
        body = rest;
        match first {
            b'"' | b'\n' => return None,
            b'\\' => unescape(&mut body, &mut out)?,
            byte => out.push(byte),
        }
    }
    Some(out)
}

fn unescape(body: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (&kind, rest) = body.split_first()?;
    *body = rest;
    let simple = match kind {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' | b'"' => kind,
        b'x' => u8::try_from(digits(body, 2, 16)?).ok()?,
        b'0'..=b'7' => {
            let rest = digits(body, 2, 8)?;
            u8::try_from(u32::from(kind - b'0') * 64 + rest).ok()?
        }
        b'u' | b'U' => {
            let code = digits(body, if kind == b'u' { 4 } else { 8 }, 16)?;
            let mut buffer = [0; 4];
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    out.push(simple);
    Some(())
}

fn digits(body: &mut &[u8], count: usize, radix: u32) -> Option<u32> {
    let (text, rest) = body.split_at_checked(count)?;
    *body = rest;
    text.iter().try_fold(0_u32, |sum, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        sum.checked_mul(radix)?.checked_add(digit)
    })
}

/// A signed number; base 0 reads `0x`, `0o`, `0b`, `0` prefixes and `_` between digits.
pub(super) fn parse_int(text: &str, base: u32) -> Result<i64, String> {
    let (negative, magnitude) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let fail = |why: &str| format!("strconv.ParseInt: parsing {}: {why}", quote(text.as_bytes()));
    let value = parse_magnitude(magnitude, base).map_err(fail)?;
    let signed = if negative { -i128::from(value) } else { i128::from(value) };
    i64::try_from(signed).map_err(|_| fail(OUT_OF_RANGE))
}

/// An unsigned number without a sign.
pub(super) fn parse_uint(text: &str, base: u32) -> Result<u64, String> {
    parse_magnitude(text, base)
        .map_err(|why| format!("strconv.ParseUint: parsing {}: {why}", quote(text.as_bytes())))
}

const OUT_OF_RANGE: &str = "value out of range";
const INVALID_SYNTAX: &str = "invalid syntax";

fn parse_magnitude(text: &str, base: u32) -> Result<u64, &'static str> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match base {
        0 if lower.starts_with("0x") => (16, &lower[2..]),
        0 if lower.starts_with("0o") => (8, &lower[2..]),
        0 if lower.starts_with("0b") => (2, &lower[2..]),
        0 if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        0 => (10, &lower[..]),
        base => (base, &lower[..]),
    };
    let digits = match base {
        0 if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") => {
            return Err(INVALID_SYNTAX);
        }
        0 => digits.replace('_', ""),
        _ => digits.to_owned(),
    };
    if digits.is_empty() || !digits.chars().all(|char| char.is_digit(radix)) {
        return Err(INVALID_SYNTAX);
    }
    u64::from_str_radix(&digits, radix).map_err(|_| OUT_OF_RANGE)
}

/// `1`, `t`, `true`, `0`, `f`, `false` and their capitals.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {}: {INVALID_SYNTAX}", quote(text.as_bytes()))),
    }
}

/// A duration such as `300ms`, `1.5h` or `2h45m`, in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Result<i64, String> {
    let quoted = quote(text.as_bytes());
    let invalid = || format!("time: invalid duration {quoted}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "" => return Err(format!("time: missing unit in duration {quoted}")),
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            unit => {
                return Err(format!("time: unknown unit {} in duration {quoted}", quote(unit.as_bytes())));
            }
        };
        rest = &rest[end..];
        total += number * unit;
    }
    if total > i64::MAX as f64 {
        return Err(invalid());
    }
    Ok(if negative { -total } else { total } as i64)
}

/// A duration as Go prints it: `301.4ms`, `1m30s`, `0s`.
pub(super) fn duration(duration: std::time::Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanos, 1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = format!("{}s", fraction(rest, 1_000_000_000));
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

fn fraction(value: u128, unit: u128) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes with decimal units and at most two digits: `20 kB`, `2.1 GB`.
pub(super) fn bytes(size: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if size < 10 {
        return format!("{size} B");
    }
    let exponent = (size.ilog10() / 3) as usize;
    let value = (size as f64 / 1000_f64.powi(exponent as i32) * 10.0 + 0.5).floor() / 10.0;
    let unit = UNITS[exponent];
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// Each byte as `\xNN`.
pub(super) fn hex_escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 4), |mut out, byte| {
        let _ = write!(out, "\\x{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_follows_go() {
        for (bytes, want) in [
            (&b"plain"[..], r#""plain""#),
            (b"a\"b\\", r#""a\"b\\""#),
            (b"\x00\x1b\x7f\n\t", r#""\x00\x1b\x7f\n\t""#),
            (b"a\xff", r#""a\xff""#),
            ("é\u{2028}\u{a0}😀\u{301}'".as_bytes(), "\"é\\u2028\\u00a0😀\u{301}'\""),
            ("\u{e000}\u{10ffff}".as_bytes(), r#""\ue000\U0010ffff""#),
        ] {
            assert_eq!(quote(bytes), want);
        }
    }

    #[test]
    fn unquoting_follows_go() {
        for (literal, want) in [
            (r#""plain""#, Some(&b"plain"[..])),
            (r#""\x41\101\u0041\n""#, Some(b"AAA\n")),
            (r#""a\"b""#, Some(b"a\"b")),
            (r"`a\n`", Some(b"a\\n")),
            (r#""\q""#, None),
            (r#""\'""#, None),
            (r#""\400""#, None),
            (r#""open"#, None),
        ] {
            assert_eq!(unquote(literal.as_bytes()).as_deref(), want, "{literal}");
        }
    }

    #[test]
    fn numbers_follow_go() {
        for (text, base, want) in [
            ("12", 10, Ok(12)),
            ("-0x1f", 0, Ok(-31)),
            ("1_000", 0, Ok(1000)),
            ("ff", 16, Ok(255)),
            ("-9223372036854775808", 10, Ok(i64::MIN)),
            ("9223372036854775808", 10, Err("value out of range")),
            ("", 10, Err("invalid syntax")),
            ("1__0", 0, Err("invalid syntax")),
        ] {
            let want = want.map_err(|why| format!("strconv.ParseInt: parsing \"{text}\": {why}"));
            assert_eq!(parse_int(text, base), want);
        }
    }

    #[test]
    fn durations_are_read_and_written_as_in_go() {
        for (text, want) in
            [("300ms", 300_000_000), ("1.5s", 1_500_000_000), ("1h2m3s", 3_723_000_000_000), ("0", 0)]
        {
            assert_eq!(parse_duration(text), Ok(want), "{text}");
        }
        for (text, part) in [("1", "missing unit"), ("x", "invalid duration"), ("5y", "unknown unit \"y\"")] {
            assert!(parse_duration(text).unwrap_err().contains(part), "{text}");
        }
        let millis = std::time::Duration::from_millis;
        for (value, want) in [
            (millis(0), "0s"),
            (millis(1), "1ms"),
            (millis(1500), "1.5s"),
            (millis(90_000), "1m30s"),
            (millis(3_600_000), "1h0m0s"),
        ] {
            assert_eq!(duration(value), want);
        }
        assert_eq!(duration(std::time::Duration::from_nanos(301_443_846)), "301.443846ms");
    }

    #[test]
    fn sizes_have_decimal_units() {
        for (size, want) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (20480, "20 kB"),
            (2_147_483_648, "2.1 GB"),
        ] {
            assert_eq!(bytes(size), want);
        }
    }
}

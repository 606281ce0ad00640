//! The source as the tidy tests see it: files without their tests, comments or string literals.

use std::fs;
use std::path::{Path, PathBuf};

/// One file under src, with its test code cut off.
pub(crate) struct Source {
    /// Such as `mvcc/store.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Lines of code, comments blanked, numbered as in the file.
    pub(crate) code: Vec<String>,
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under src that is not test code.
pub(crate) fn all() -> Vec<Source> {
    let src = root().join("src");
    let mut paths = Vec::new();
    collect(&src, &mut paths);
    paths.sort();
    paths.iter().filter_map(|path| read(&src, path)).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn read(src: &Path, path: &Path) -> Option<Source> {
    let relative = path.strip_prefix(src).expect("below src").to_string_lossy().into_owned();
    let is_test =
        relative.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"));
    let text = fs::read_to_string(path).expect("a source file is UTF-8");
    if is_test || declared_for_tests(path) {
        return None;
    }
    let code = code_lines(&text);
    Some(Source { path: relative, text, code })
}

/// Whether the folder's mod.rs declares this file under `#[cfg(test)]`.
fn declared_for_tests(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let parent = path.parent().unwrap_or(path);
    let owners = [parent.join("mod.rs"), parent.with_extension("rs")];
    owners.iter().filter_map(|owner| fs::read_to_string(owner).ok()).any(|text| {
        let declaration =
            [format!("mod {name};"), format!("pub(crate) mod {name};"), format!("pub(super) mod {name};")];
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.windows(2).any(|pair| pair[0] == "#[cfg(test)]" && declaration.iter().any(|d| d == pair[1]))
    })
}

/// Lines with comments and strings blanked, up to the first `#[cfg(test)]` module at the end of the file.
fn code_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{'))
        .unwrap_or(lines.len());
    lines[..end].iter().map(|line| blank(line)).collect()
}

fn blank(line: &str) -> String {
    let mut kept = String::new();
    let mut in_string = false;
    let mut before = ' ';
    for letter in line.chars() {
        if letter == '"' && before != '\\' && before != '\'' {
            in_string = !in_string;
        }
        kept.push(if in_string { ' ' } else { letter });
        before = letter;
    }
    kept.split("//").next().unwrap_or_default().to_owned()
}

//! The keys of the registry and etcd's v2 rules for them: indexes, errors, hidden keys, JSON; pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A registry holds no more keys, so that nobody fills the disk by asking for tokens.
const KEYS_MAX: usize = 100_000;

/// All keys, and the count of changes that numbers them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registry {
    index: u64,
    keys: BTreeMap<String, Leaf>,
}

/// A key with a value. Folders are not kept: they are there as long as something is in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Leaf {
    value: String,
    created_index: u64,
    modified_index: u64,
}

/// `prevExist` of a PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PrevExist {
    Any,
    Must,
    MustNot,
}

/// An answer, and whether the key is new (HTTP 201).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Done {
    pub body: Value,
    pub is_new: bool,
}

/// An error of the v2 API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeysError {
    pub kind: ErrorKind,
    pub cause: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    KeyNotFound,
    NotAFile,
    NotAFolder,
    KeyExists,
    ReadOnlyRoot,
    ValueRequired,
    IndexNotANumber,
    InvalidField,
    Full,
}

impl ErrorKind {
    /// etcd's number and text, and the HTTP code that goes with them.
    pub(super) fn code(self) -> (u64, &'static str, u16) {
        match self {
            ErrorKind::KeyNotFound => (100, "Key not found", 404),
            ErrorKind::NotAFile => (102, "Not a file", 403),
            ErrorKind::NotAFolder => (104, "Not a directory", 400),
            ErrorKind::KeyExists => (105, "Key already exists", 412),
            ErrorKind::ReadOnlyRoot => (107, "Root is read only", 403),
            ErrorKind::ValueRequired => (200, "Value is Required in POST form", 400),
            ErrorKind::IndexNotANumber => (203, "The given index in POST form is not a number", 400),
            ErrorKind::InvalidField => (209, "Invalid field", 400),
            ErrorKind::Full => (300, "Raft Internal Error", 500),
        }
    }
}

impl KeysError {
    pub(super) fn new(kind: ErrorKind, cause: impl Into<String>) -> KeysError {
        KeysError { kind, cause: cause.into() }
    }

    /// As the API writes it.
    pub(super) fn body(&self, index: u64) -> Value {
        let (code, message, _) = self.kind.code();
        json!({"errorCode": code, "message": message, "cause": self.cause, "index": index})
    }
}

impl Registry {
    /// Number of the newest change.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// One key, or a folder with what lies in it, in the order of the names.
    pub(super) fn get(&self, path: &str, recursive: bool) -> Result<Value, KeysError> {
        if let Some(leaf) = self.keys.get(path) {
            return Ok(json!({"action": "get", "node": leaf_node(path, leaf)}));
        }
        let node = self.folder(path, if recursive { usize::MAX } else { 1 });
        match node {
            Some(node) => Ok(json!({"action": "get", "node": node})),
            None if path == "/" => Ok(json!({"action": "get", "node": {"dir": true}})),
            None => Err(KeysError::new(ErrorKind::KeyNotFound, path)),
        }
    }

    /// Writes one key.
    pub(super) fn put(&mut self, path: &str, value: &str, prev_exist: PrevExist) -> Result<Done, KeysError> {
        self.check_place(path)?;
        let before = self.keys.get(path).cloned();
        match (&before, prev_exist) {
            (Some(_), PrevExist::MustNot) => return Err(KeysError::new(ErrorKind::KeyExists, path)),
            (None, PrevExist::Must) => return Err(KeysError::new(ErrorKind::KeyNotFound, path)),
            (None, _) if self.keys.len() >= KEYS_MAX => {
                let cause = format!("the registry holds {KEYS_MAX} keys and takes no more");
                return Err(KeysError::new(ErrorKind::Full, cause));
            }
            _ => {}
        }
        self.index += 1;
        let created_index = match (&before, prev_exist) {
            (Some(before), PrevExist::Must) => before.created_index,
            _ => self.index,
        };
        let leaf = Leaf { value: value.to_owned(), created_index, modified_index: self.index };
        let action = match prev_exist {
            PrevExist::Any => "set",
            PrevExist::Must => "update",
            PrevExist::MustNot => "create",
        };
        let mut body = json!({"action": action, "node": leaf_node(path, &leaf)});
        if let Some(before) = &before {
            body["prevNode"] = leaf_node(path, before);
        }
        self.keys.insert(path.to_owned(), leaf);
        Ok(Done { body, is_new: before.is_none() })
    }

    /// Removes one key, or with `recursive` a folder.
    pub(super) fn delete(&mut self, path: &str, recursive: bool) -> Result<Done, KeysError> {
        if path == "/" {
            return Err(KeysError::new(ErrorKind::ReadOnlyRoot, path));
        }
        let before = match self.keys.get(path) {
            Some(leaf) => leaf_node(path, leaf),
            None => match self.folder(path, 0) {
                Some(node) if recursive => node,
                Some(_) => return Err(KeysError::new(ErrorKind::NotAFile, path)),
                None => return Err(KeysError::new(ErrorKind::KeyNotFound, path)),
            },
        };
        self.index += 1;
        let below = inside(path);
        self.keys.retain(|key, _| key != path && !key.starts_with(&below));
        let mut node = before.clone();
        node["modifiedIndex"] = json!(self.index);
        if let Some(node) = node.as_object_mut() {
            node.remove("value");
        }
        Ok(Done { body: json!({"action": "delete", "node": node, "prevNode": before}), is_new: false })
    }

    /// The first key that was written at `index` or later, at `path` or (recursive) below it; hidden keys are
    /// told only to those who watch them by name.
    pub(super) fn since(&self, path: &str, recursive: bool, index: u64) -> Option<Value> {
        let below = inside(path);
        let is_watched = |key: &str| {
            key == path || (recursive && key.strip_prefix(&below).is_some_and(|rest| !is_hidden(rest)))
        };
        let newest = self.keys.iter().filter(|(key, leaf)| leaf.modified_index >= index && is_watched(key));
        let (key, leaf) = newest.min_by_key(|(_, leaf)| leaf.modified_index)?;
        let action = if leaf.created_index == leaf.modified_index { "create" } else { "update" };
        Some(json!({"action": action, "node": leaf_node(key, leaf)}))
    }

    /// A file is no folder, and a folder no file.
    fn check_place(&self, path: &str) -> Result<(), KeysError> {
        if path == "/" {
            return Err(KeysError::new(ErrorKind::ReadOnlyRoot, path));
        }
        let mut above = path;
        while let Some((folder, _)) = above.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
            if self.keys.contains_key(folder) {
                return Err(KeysError::new(ErrorKind::NotAFolder, folder));
            }
            above = folder;
        }
        match self.folder(path, 0) {
            Some(_) => Err(KeysError::new(ErrorKind::NotAFile, path)),
            None => Ok(()),
        }
    }

    /// A folder as a node, with what lies in it down to `depth`; None: nothing lies in it.
    fn folder(&self, path: &str, depth: usize) -> Option<Value> {
        let below = inside(path);
        let inside: Vec<(&String, &Leaf)> =
            self.keys.range(below.clone()..).take_while(|(key, _)| key.starts_with(&below)).collect();
        let created = inside.iter().map(|(_, leaf)| leaf.created_index).min()?;
        let mut node = json!({"dir": true, "modifiedIndex": created, "createdIndex": created});
        if path != "/" {
            node["key"] = json!(path);
        }
        if depth > 0 {
            let mut names: Vec<&str> =
                inside.iter().filter_map(|(key, _)| key[below.len()..].split('/').next()).collect();
            names.dedup();
            let nodes: Vec<Value> = names
                .into_iter()
                .filter(|name| !is_hidden(name))
                .filter_map(|name| {
                    let key = format!("{below}{name}");
                    match self.keys.get(&key) {
                        Some(leaf) => Some(leaf_node(&key, leaf)),
                        None => self.folder(&key, depth - 1),
                    }
                })
                .collect();
            if !nodes.is_empty() {
                node["nodes"] = json!(nodes);
            }
        }
        Some(node)
    }
}

fn leaf_node(path: &str, leaf: &Leaf) -> Value {
    json!({
        "key": path,
        "value": leaf.value,
        "modifiedIndex": leaf.modified_index,
        "createdIndex": leaf.created_index,
    })
}

fn inside(path: &str) -> String {
    if path == "/" { path.to_owned() } else { format!("{path}/") }
}

/// Whether a part of it begins with an underscore.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let mut registry = Registry::default();
        registry.put("/d/T/_config/size", "3", PrevExist::Any).expect("a new key");
        registry.put("/d/T/b", "b=http://b:1", PrevExist::MustNot).expect("a new key");
        registry.put("/d/T/a", "a=http://a:1", PrevExist::MustNot).expect("a new key");
        registry
    }

    /// The very answers of etcd 3.5 to the same requests.
    #[test]
    fn answers_are_etcds() {
        let mut registry = registry();
        let size = registry.get("/d/T/_config/size", false).expect("it is there");
        assert_eq!(
            size,
            json!({"action": "get", "node":
                {"key": "/d/T/_config/size", "value": "3", "modifiedIndex": 1, "createdIndex": 1}})
        );
        let list = registry.get("/d/T", false).expect("it is there");
        assert_eq!(
            list,
            json!({"action": "get", "node": {"key": "/d/T", "dir": true, "nodes": [
                {"key": "/d/T/a", "value": "a=http://a:1", "modifiedIndex": 3, "createdIndex": 3},
                {"key": "/d/T/b", "value": "b=http://b:1", "modifiedIndex": 2, "createdIndex": 2},
            ], "modifiedIndex": 1, "createdIndex": 1}})
        );
        let exists = registry.put("/d/T/a", "x", PrevExist::MustNot).expect_err("it is there already");
        assert_eq!(
            exists.body(registry.index()),
            json!({"errorCode": 105, "message": "Key already exists", "cause": "/d/T/a", "index": 3})
        );
        let set = registry.put("/d/T/a", "zz", PrevExist::Any).expect("it may be replaced");
        assert!(!set.is_new);
        assert_eq!(
            set.body,
            json!({"action": "set",
                "node": {"key": "/d/T/a", "value": "zz", "modifiedIndex": 4, "createdIndex": 4},
                "prevNode": {"key": "/d/T/a", "value": "a=http://a:1", "modifiedIndex": 3, "createdIndex": 3}})
        );
        let deleted = registry.delete("/d/T/a", false).expect("it is there");
        assert_eq!(
            deleted.body,
            json!({"action": "delete", "node": {"key": "/d/T/a", "modifiedIndex": 5, "createdIndex": 4},
                "prevNode": {"key": "/d/T/a", "value": "zz", "modifiedIndex": 4, "createdIndex": 4}})
        );
    }

    #[test]
    fn files_and_folders_are_told_apart() {
        let mut registry = registry();
        let kind = |result: Result<Done, KeysError>| result.expect_err("it is refused").kind;
        assert_eq!(kind(registry.put("/d/T", "x", PrevExist::Any)), ErrorKind::NotAFile);
        assert_eq!(kind(registry.put("/d/T/a/x", "x", PrevExist::Any)), ErrorKind::NotAFolder);
        assert_eq!(kind(registry.put("/", "x", PrevExist::Any)), ErrorKind::ReadOnlyRoot);
        assert_eq!(kind(registry.put("/d/T/new", "x", PrevExist::Must)), ErrorKind::KeyNotFound);
        assert_eq!(kind(registry.delete("/d/T", false)), ErrorKind::NotAFile);
        assert_eq!(registry.get("/none", false).expect_err("nothing is there").kind, ErrorKind::KeyNotFound);
        assert!(registry.delete("/d/T", true).is_ok());
        assert_eq!(registry.get("/d", true).expect_err("nothing is left").kind, ErrorKind::KeyNotFound);
        assert_eq!(registry.get("/", false).expect("the root is always there")["node"]["dir"], true);
    }

    #[test]
    fn who_waits_is_told_of_the_next_change_but_not_of_hidden_ones() {
        let registry = registry();
        let key = |event: Option<Value>| event.map(|event| event["node"]["key"].clone());
        assert_eq!(key(registry.since("/d/T", true, 1)), Some(json!("/d/T/b")));
        assert_eq!(key(registry.since("/d/T", true, 3)), Some(json!("/d/T/a")));
        assert_eq!(key(registry.since("/d/T", true, 4)), None);
        assert_eq!(key(registry.since("/d/T", false, 1)), None);
        assert_eq!(key(registry.since("/d/T/a", false, 2)), Some(json!("/d/T/a")));
        assert_eq!(key(registry.since("/d/T/_config/size", false, 1)), Some(json!("/d/T/_config/size")));
    }
}

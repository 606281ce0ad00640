//! Bounds, types and unknown fields, read from the CRD's own schema.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use crate::api::{GROUP, KvorumClusterSpec, VERSION, crds};

/// Where a value stands and what it must be.
struct Walk<'a> {
    path: String,
    schema: &'a JSONSchemaProps,
    value: &'a Value,
}

/// The schema of the whole resource.
static ROOT: LazyLock<JSONSchemaProps> = LazyLock::new(|| {
    let versions = crds().into_iter().flat_map(|crd| crd.spec.versions);
    let schema = versions.filter_map(|version| version.schema?.open_api_v3_schema).next();
    schema.unwrap_or_default()
});

/// What in a whole document is not as the schema says.
pub(super) fn check_document(document: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let expected = [("apiVersion", format!("{GROUP}/{VERSION}")), ("kind", "KvorumCluster".to_owned())];
    for (field, right) in expected {
        if text(field) != right {
            wrong.push(format!("{field} is {:?}: must be {right}", text(field)));
        }
    }
    if document.pointer("/metadata/name").and_then(Value::as_str).is_none() {
        wrong.push("metadata.name is missing: must be the name of the cluster".to_owned());
    }
    for (field, value) in document.as_object().into_iter().flatten() {
        match field.as_str() {
            // Kubernetes checks metadata by rules of its own, and the status is not the user's.
            "apiVersion" | "kind" | "metadata" | "status" => {}
            "spec" => {
                if let Some(schema) = property(&ROOT, "spec") {
                    check(Walk { path: "spec".to_owned(), schema, value }, &mut wrong);
                }
            }
            _ => wrong.push(format!("{field} is unknown: a KvorumCluster has metadata and spec")),
        }
    }
    if document.get("spec").is_none() {
        wrong.push("spec is missing: must say what the cluster should be, such as replicas: 3".to_owned());
    }
    wrong
}

/// What in a spec is not as the schema says.
pub(super) fn check_spec(spec: &KvorumClusterSpec) -> Vec<String> {
    let mut wrong = Vec::new();
    if let (Ok(value), Some(schema)) = (serde_json::to_value(spec), property(&ROOT, "spec")) {
        check(Walk { path: "spec".to_owned(), schema, value: &value }, &mut wrong);
    }
    wrong
}

fn check(walk: Walk<'_>, wrong: &mut Vec<String>) {
    let Walk { path, schema, value } = &walk;
    if value.is_null() && schema.nullable == Some(true) {
        return;
    }
    let fault = match value {
        _ if !of_type(schema, value) => Some(format!("must be {}", type_words(schema))),
        Value::Number(number) => number.as_f64().and_then(|number| number_fault(schema, number)),
        Value::String(text) => {
            length_fault(schema.min_length, schema.max_length, text.chars().count(), "characters")
        }
        Value::Array(items) => length_fault(schema.min_items, schema.max_items, items.len(), "entries"),
        Value::Object(fields) => {
            length_fault(schema.min_properties, schema.max_properties, fields.len(), "entries")
        }
        Value::Null | Value::Bool(_) => None,
    };
    if let Some(fault) = fault.or_else(|| enum_fault(schema, value)) {
        wrong.push(format!("{path} is {value}: {fault}"));
        return;
    }
    inside(&walk, wrong);
}

fn inside(walk: &Walk<'_>, wrong: &mut Vec<String>) {
    let Walk { path, schema, value } = walk;
    match value {
        Value::Array(items) => {
            let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items else { return };
            for (at, value) in items.iter().enumerate() {
                check(Walk { path: format!("{path}[{at}]"), schema, value }, wrong);
            }
        }
        Value::Object(fields) => {
            for (field, value) in fields {
                let path = format!("{path}.{field}");
                match property(schema, field) {
                    Some(schema) => check(Walk { path, schema, value }, wrong),
                    None => wrong.push(format!("{path} is unknown: {}", known(schema))),
                }
            }
            for field in schema.required.iter().flatten().filter(|field| !fields.contains_key(*field)) {
                wrong.push(format!("{path}.{field} is missing: it has no default"));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn property<'a>(schema: &'a JSONSchemaProps, field: &str) -> Option<&'a JSONSchemaProps> {
    if let Some(found) = schema.properties.as_ref().and_then(|properties| properties.get(field)) {
        return Some(found);
    }
    match schema.additional_properties.as_ref()? {
        JSONSchemaPropsOrBool::Schema(schema) => Some(schema),
        JSONSchemaPropsOrBool::Bool(_) => None,
    }
}

fn known(schema: &JSONSchemaProps) -> String {
    let fields: Vec<_> = schema.properties.iter().flatten().map(|(field, _)| field.as_str()).collect();
    match fields.is_empty() {
        true => "nothing may stand there".to_owned(),
        false => format!("the fields there are {}", fields.join(", ")),
    }
}

fn of_type(schema: &JSONSchemaProps, value: &Value) -> bool {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return value.is_string() || value.is_i64();
    }
    match schema.type_.as_deref() {
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(_) | None => true,
    }
}

fn type_words(schema: &JSONSchemaProps) -> &'static str {
    match schema.type_.as_deref() {
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("string") => "a string",
        Some("boolean") => "true or false",
        Some("array") => "a list",
        Some("object") => "a map of fields",
        Some(_) | None => "a string or a whole number",
    }
}

fn number_fault(schema: &JSONSchemaProps, number: f64) -> Option<String> {
    match (schema.minimum, schema.maximum) {
        (Some(least), _) if number < least => Some(format!("must be {least} or more")),
        (_, Some(most)) if number > most => Some(format!("must be {most} or less")),
        _ => None,
    }
}

fn length_fault(least: Option<i64>, most: Option<i64>, length: usize, unit: &str) -> Option<String> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    match (least, most) {
        (Some(least), _) if length < least => Some(format!("must have {least} {unit} or more")),
        (_, Some(most)) if length > most => Some(format!("must have {most} {unit} or fewer, has {length}")),
        _ => None,
    }
}

fn enum_fault(schema: &JSONSchemaProps, value: &Value) -> Option<String> {
    let allowed = schema.enum_.as_ref()?;
    if allowed.iter().any(|allowed| allowed.0 == *value) {
        return None;
    }
    let allowed: Vec<_> = allowed.iter().filter_map(|allowed| allowed.0.as_str()).collect();
    Some(format!("must be one of {}", allowed.join(", ")))
}

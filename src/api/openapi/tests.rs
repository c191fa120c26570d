//! Makes the document of the routes, and compares it with the one that is checked in.

use std::collections::BTreeSet;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::super::describe::{Operation, words};
use super::super::route::{Right, Route};
use super::super::routes::ROUTES;
use super::PACKED;

const FILE: &str = "src/api/openapi/openapi.json";

/// Names of answers' fields that are ISO 8601 where they are strings.
const TIMES: [&str; 6] = ["time", "since", "until", "at", "lastUpdate", "nextAttempt"];

/// What schemars says in other words than generators of clients understand best.
fn simplify(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(simplify),
        Value::Object(object) => {
            object.values_mut().for_each(simplify);
            one_enum(object);
            // Of integers their Rust type.
            if object.get("type") != Some(&json!("string"))
                && object.get("format").is_some_and(|format| {
                    let format = format.as_str().unwrap_or_default();
                    format.starts_with("uint") || matches!(format, "int32" | "double")
                })
            {
                object.remove("format");
                object.remove("minimum");
                object.remove("maximum");
            }
            properties(object);
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = words(text);
            }
        }
        _ => {}
    }
}

/// `oneOf` of constants, which schemars makes of variants with doc comments, is an enumeration; their docs become its own.
fn one_enum(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get("oneOf") else {
        return;
    };
    let (mut names, mut docs) = (Vec::new(), Vec::new());
    for variant in variants {
        match (&variant["const"], &variant["enum"]) {
            (Value::String(name), _) => {
                names.push(json!(name));
                docs.push(format!(
                    "`{name}`: {}",
                    variant["description"].as_str().unwrap_or_default()
                ));
            }
            (_, Value::Array(several)) => names.extend(several.iter().cloned()),
            _ => return,
        }
    }
    let own = object
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let description = format!("{own} {}", docs.join(" "));
    object.remove("oneOf");
    object.insert("type".to_owned(), "string".into());
    object.insert("enum".to_owned(), Value::Array(names));
    object.insert("description".to_owned(), description.into());
}

/// Says of a field that may be left out that it may be `null`, too.
const NULLABLE: &str = "nullable";

/// A field that may be left out is never `null`, unless [`NULLABLE`] says so; times have their format.
fn properties(object: &mut Map<String, Value>) {
    let required: BTreeSet<String> = object
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let Some(Value::Object(properties)) = object.get_mut("properties") else {
        return;
    };
    for (name, schema) in properties {
        let Value::Object(schema) = schema else {
            continue;
        };
        let is_time =
            TIMES.contains(&name.as_str()) || name.ends_with("At") || name.ends_with("Until");
        let kinds = schema.get("type").cloned().unwrap_or_default();
        let is_nullable = schema.remove(NULLABLE).is_some();
        if is_time && (kinds == "string" || kinds == json!(["string", "null"])) {
            schema.insert("format".to_owned(), "date-time".into());
        }
        if let (false, [kind, Value::String(null)]) = (
            is_nullable || required.contains(name),
            kinds.as_array().map_or(&[][..], Vec::as_slice),
        ) && null == "null"
        {
            let kind = kind.clone();
            schema.insert("type".to_owned(), kind);
            schema.remove("default");
        }
    }
}

/// `/accounts/:id` as OpenAPI writes it, and its parameters.
fn templated(path: &str) -> (String, Vec<&str>) {
    let mut names = Vec::new();
    let parts: Vec<String> = path
        .split('/')
        .map(|part| match part.strip_prefix(':') {
            Some(name) => {
                names.push(name);
                format!("{{{name}}}")
            }
            None => part.to_owned(),
        })
        .collect();
    (parts.join("/"), names)
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = Operation::new(generator, route.tag == "Sending");
    (route.describe)(&mut operation);
    let Operation {
        mut object,
        mut responses,
        ..
    } = operation;
    let error = json!({"$ref": "#/components/responses/Error"});
    responses.insert("default".to_owned(), error);
    object.insert("responses".to_owned(), Value::Object(responses));
    object.insert("operationId".to_owned(), route.operation.into());
    object.insert("summary".to_owned(), route.doc.into());
    object.insert("tags".to_owned(), json!([route.tag]));
    if matches!(route.right, Right::Open | Right::Keyless) {
        object.insert("security".to_owned(), json!([{}, {"key": []}]));
    }
    Value::Object(object)
}

/// The whole document.
fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = json!({});
    for route in ROUTES {
        let method = route.method.to_string().to_lowercase();
        paths[templated(route.path).0][method] = operation(route, &mut generator);
    }
    let mut schemas = Value::Object(generator.take_definitions(true));
    simplify(&mut schemas);
    schemas["Error"] = error_schema();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "wildcat",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "WhatsApp accounts over HTTP. A successful JSON answer also has `ok: true`, and its fields again \
                under `data`, unless `api.envelope` says otherwise; the fields below are those at the top level.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"bearer": []}, {"basic": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Api-Key",
                    "description": "made by `wildcat key add NAME`; none is needed on the server's own machine while \
                        there are no keys",
                },
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "the key is the password"},
            },
            "responses": {
                "Error": {
                    "description": "What went wrong: 400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 429, 431, 500 or 503",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                },
            },
            "schemas": schemas,
        },
    })
}

/// What `ApiError` answers: `error` and the fields of some errors.
fn error_schema() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["ok", "error"],
        "properties": {
            "ok": {"type": "boolean", "const": false},
            "error": {"type": "string", "description": "what is wrong, in words"},
            "field": text,
            "status": text,
            "retryAfter": {"type": "integer", "description": "seconds"},
            "code": {
                "type": ["integer", "null"],
                "description": "WhatsApp's own, where it refused: 403 or 404 for a group or channel that the account is not \
                    in or that does not exist, 463 and 475 for new contacts; null where it names none",
            },
            "messageId": text,
            "firstAvailable": {"type": "integer", "description": "the first event that can be read"},
            "last": {"type": "integer"},
        },
    })
}

/// A value with its names in their order, except that forms stand before other types of a body: generators of clients
/// take the first one, and only a form can carry a file as it is.
struct FormsFirst<'a>(&'a Value);

impl Serialize for FormsFirst<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(object) => {
                let form = "multipart/form-data";
                let first = object.get_key_value(form).into_iter();
                let others = object.iter().filter(|(name, _)| *name != form);
                let all = first.chain(others);
                serializer.collect_map(all.map(|(name, value)| (name, FormsFirst(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(FormsFirst)),
            plain => plain.serialize(serializer),
        }
    }
}

#[test]
fn the_document_is_what_the_code_says() {
    let mut text = serde_json::to_string_pretty(&FormsFirst(&document())).expect("JSON");
    text.push('\n');
    if std::env::var_os("WILDCAT_WRITE_OPENAPI").is_some() {
        std::fs::write(FILE, &text).expect("written");
    }
    let checked_in = std::fs::read_to_string(FILE).expect("read");
    assert!(
        checked_in == text,
        "{FILE} is not what the code says; see src/api/openapi/mod.rs for how to write it"
    );
}

#[test]
fn the_packed_document_is_the_same() {
    let mut packed = String::new();
    std::io::Read::read_to_string(&mut flate2::read::DeflateDecoder::new(PACKED), &mut packed)
        .expect("unpacked");
    assert!(!packed.contains('\n'));
    let packed: Value = serde_json::from_str(&packed).expect("JSON");
    assert_eq!(packed, document());
}

#[test]
fn every_operation_has_the_parameters_of_its_path_and_a_success() {
    let document = document();
    let mut ids = BTreeSet::new();
    for route in ROUTES {
        let (path, names) = templated(route.path);
        let method = route.method.to_string().to_lowercase();
        let operation = &document["paths"][&path][&method];
        assert!(ids.insert(route.operation), "{} twice", route.operation);
        let empty = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&empty);
        let in_path: Vec<&Value> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| &parameter["name"])
            .collect();
        assert_eq!(in_path, names, "{path}");
        let answers = operation["responses"].as_object().expect("answers");
        assert!(answers.keys().any(|code| code.starts_with('2')), "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut waiting = vec![&document];
    while let Some(value) = waiting.pop() {
        if let Some(reference) = value["$ref"].as_str() {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(fields) => waiting.extend(fields.values()),
            _ => {}
        }
    }
}

//! Describes requests and answers for the OpenAPI document, from their types. Compiled for tests only.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::fields::{Described, Place, Request};

/// Fields of a file's request that stand in JSON and forms of one line only: a `multipart/form-data` has the file itself.
const IN_PLACE_OF_A_FILE: [&str; 3] = ["url", "headers", "base64"];

/// One operation while it is described.
pub struct Operation<'a> {
    generator: &'a mut SchemaGenerator,
    /// Whether its body may be a form of one line, too.
    takes_forms: bool,
    /// The operation's fields, without `responses`.
    pub object: Map<String, Value>,
    pub responses: Map<String, Value>,
}

impl<'a> Operation<'a> {
    pub fn new(generator: &'a mut SchemaGenerator, takes_forms: bool) -> Operation<'a> {
        Operation {
            generator,
            takes_forms,
            object: Map::new(),
            responses: Map::new(),
        }
    }

    /// Describes a request that is read as `T`.
    pub fn request<T: Request>(&mut self) {
        let body = self.parameters::<T>();
        if T::HAS_BODY {
            let mut schema = object_of(&body, !self.takes_forms);
            one_of(&mut schema, T::one_of());
            let mut content = json!({"application/json": {"schema": schema.clone()}});
            if self.takes_forms {
                content["application/x-www-form-urlencoded"] = json!({"schema": schema});
            }
            let is_needed = !T::one_of().is_empty() || body.iter().any(|field| field.required);
            self.object.insert(
                "requestBody".to_owned(),
                json!({"required": is_needed, "content": content}),
            );
        }
    }

    /// The same with a file in the form's field `file`.
    pub fn upload<T: Request>(&mut self, file: &str) {
        let body = self.parameters::<T>();
        if body.iter().any(|field| field.slot.name == file) {
            return self.uploads(body, file);
        }
        let (rest, common): (Vec<_>, Vec<_>) = body
            .into_iter()
            .partition(|field| IN_PLACE_OF_A_FILE.contains(&field.slot.name));
        let common = self.shared("MediaFields", object_of(&common, false));
        let binary = json!({"type": "string", "format": "binary"});
        let form = json!({
            "type": "object",
            "allOf": [common, {"type": "object", "required": [file], "properties": {file: binary}}],
        });
        let mut in_text = object_of(&rest, false);
        in_text["properties"]["base64"] =
            json!({"type": "string", "description": "base64 or a data: URI"});
        let mut text = json!({"type": "object", "allOf": [common, in_text]});
        one_of(&mut text, &["url", "base64"]);
        let text = json!({"schema": self.shared("MediaJson", text)});
        let content = json!({
            "multipart/form-data": {"schema": form},
            "application/json": text,
            "application/x-www-form-urlencoded": text,
        });
        self.object.insert(
            "requestBody".to_owned(),
            json!({"required": true, "content": content}),
        );
    }

    /// Several files: in a form under the name that the list has in JSON.
    fn uploads(&mut self, body: Vec<Described>, files: &str) {
        let needs = |mut schema: Value| {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            schema["required"] = required.into_iter().chain([files.into()]).collect();
            schema
        };
        let text = needs(object_of(&body, false));
        let mut form = text.clone();
        form["properties"][files] = json!({"type": "array", "minItems": 2, "maxItems": 30,
            "items": {"type": "string", "format": "binary"}});
        let content = json!({
            "multipart/form-data": {"schema": form},
            "application/json": {"schema": text},
        });
        self.object.insert(
            "requestBody".to_owned(),
            json!({"required": true, "content": content}),
        );
    }

    /// An answer whose JSON is a `T`; the type's doc comment describes it.
    pub fn json<T: JsonSchema>(&mut self, status: u16) {
        let schema = self.schema::<T>();
        let name = T::schema_name();
        let words = self.generator.definitions()[name.as_ref()]["description"].clone();
        let words = words
            .as_str()
            .unwrap_or_else(|| panic!("{name} has no doc comment"));
        self.content(status, words, [("application/json", schema)]);
    }

    /// The same, described by `words`.
    pub fn json_as<T: JsonSchema>(&mut self, status: u16, words: &str) {
        let schema = self.schema::<T>();
        self.content(status, words, [("application/json", schema)]);
    }

    /// A failure with a meaning of its own.
    pub fn error(&mut self, status: u16, words: &str) {
        let schema = Schema::new_ref("#/components/schemas/Error".to_owned());
        self.content(status, words, [("application/json", schema)]);
    }

    /// An answer of these media types.
    pub fn content<const N: usize>(
        &mut self,
        status: u16,
        words: &str,
        types: [(&str, Schema); N],
    ) {
        let mut response = json!({"description": words});
        for (kind, schema) in types {
            response["content"][kind] = json!({"schema": schema});
        }
        self.responses.insert(status.to_string(), response);
    }

    pub fn schema<T: JsonSchema>(&mut self) -> Schema {
        self.generator.subschema_for::<T>()
    }

    /// A reference to a schema that several operations have, or the schema itself where that name stands for another one.
    fn shared(&mut self, name: &str, schema: Value) -> Value {
        let known = self.generator.definitions_mut();
        match known.entry(name).or_insert_with(|| schema.clone()) == &schema {
            true => json!({"$ref": format!("#/components/schemas/{name}")}),
            false => schema,
        }
    }

    /// Describes the fields outside of the body, and gives those in it.
    fn parameters<T: Request>(&mut self) -> Vec<Described> {
        let mut fields = Vec::new();
        T::describe(self.generator, &mut fields);
        let (body, outside): (Vec<_>, Vec<_>) = fields
            .into_iter()
            .partition(|field| field.slot.place == Place::Body);
        let parameters: Vec<Value> = outside.iter().map(parameter).collect();
        if !parameters.is_empty() {
            self.object
                .insert("parameters".to_owned(), Value::Array(parameters));
        }
        body
    }
}

fn parameter(field: &Described) -> Value {
    let place = match field.slot.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
        Place::Body => panic!("a field of the body"),
    };
    let mut parameter = json!({"name": field.slot.name, "in": place, "schema": field.schema});
    if field.required {
        parameter["required"] = true.into();
    }
    if !words(&field.doc).is_empty() {
        parameter["description"] = words(&field.doc).into();
    }
    parameter
}

/// The schema of a body. In JSON, a field that is absent may also be `null`.
fn object_of(fields: &[Described], takes_null: bool) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        let mut schema = field.schema.clone().to_value();
        if let (true, false, Some(kind)) = (takes_null, field.required, schema["type"].as_str()) {
            schema["type"] = json!([kind, "null"]);
        }
        let mut put = |name: &str, doc: String| {
            let mut schema = schema.clone();
            if !doc.is_empty() {
                schema["description"] = doc.into();
            }
            properties.insert(name.to_owned(), schema);
        };
        let slot = &field.slot;
        put(slot.name, words(&field.doc));
        if !slot.alias.is_empty() {
            put(slot.alias, format!("the same as `{}`", slot.name));
        } else if field.required {
            required.push(slot.name);
        }
    }
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

fn one_of(schema: &mut Value, names: &[&str]) {
    if !names.is_empty() {
        let each = names
            .iter()
            .map(|name| json!({"type": "object", "required": [name]}));
        schema["anyOf"] = each.collect();
    }
}

/// A doc comment on one line.
pub fn words(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

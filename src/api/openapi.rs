//! `GET /openapi.json`: this API as an OpenAPI document, for programs that make clients of it.

use super::Req;
use super::answer::Answer;
use super::error::ApiError;

/// Written by hand; the tests hold it against the router and against what is answered.
const DOCUMENT: &str = include_str!("openapi.json");

pub async fn document(_req: Req) -> Result<Answer, ApiError> {
    Ok(Answer::file("application/json", DOCUMENT.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::super::ROUTES;
    use super::DOCUMENT;
    use crate::event::EventKind;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).expect("JSON")
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

    #[test]
    fn its_paths_are_the_routers() {
        let document = document();
        let mut found = BTreeMap::new();
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let summary = operation["summary"].as_str().expect("a summary");
                found.insert((path.clone(), method.to_uppercase()), summary);
            }
        }
        let expected: BTreeMap<_, _> = ROUTES
            .iter()
            .map(|route| {
                let (path, _) = templated(route.path);
                ((path, route.method.to_string()), route.doc)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_operation_says_what_it_takes_and_gives() {
        let document = document();
        let mut ids = Vec::new();
        for route in ROUTES {
            let (path, names) = templated(route.path);
            let method = route.method.to_string().to_lowercase();
            let operation = &document["paths"][&path][&method];
            ids.push(operation["operationId"].as_str().expect("an id"));
            let empty = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&empty);
            let in_path: Vec<&str> = parameters
                .iter()
                .map(|parameter| resolved(&document, parameter))
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().expect("a name"))
                .collect();
            assert_eq!(in_path, names, "{path}");
            let answers = operation["responses"].as_object().expect("answers");
            assert!(answers.keys().any(|code| code.starts_with('2')), "{path}");
            let failure = resolved(&document, &answers["default"]);
            let schema = &failure["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Error", "{path}");
        }
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    }

    #[test]
    fn every_reference_leads_somewhere_and_names_are_the_programs() {
        let document = document();
        let mut waiting = vec![&document];
        while let Some(value) = waiting.pop() {
            if value["$ref"].is_string() {
                assert!(resolved(&document, value).is_object(), "{value}");
            }
            match value {
                Value::Array(items) => waiting.extend(items),
                Value::Object(fields) => waiting.extend(fields.values()),
                _ => {}
            }
        }
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let hook = &document["paths"]["/webhooks"]["post"]["requestBody"]["content"];
        let events = &hook["application/json"]["schema"]["properties"]["events"]["items"]["enum"];
        let names: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(*events, Value::from(names));
    }

    fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("a local reference");
                document.pointer(pointer).expect("what is referred to")
            }
            None => value,
        }
    }
}

//! The document says what the routes do.

use super::*;
use crate::openapi;

#[test]
fn every_route_is_described() {
    let document = serde_json::to_value(openapi::document(true)).expect("plain data");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let paths = document["paths"].as_object().expect("paths");
    let mut described: Vec<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    described.sort();
    assert_eq!(
        described,
        [
            "delete /v1/admin/groups/{name}",
            "delete /v1/admin/topics/{name}",
            "delete /v1/check-urls/{id}",
            "delete /v1/topics/{topic}/delayed/{handle}",
            "delete /v1/webhooks/{id}",
            "get /v1/admin/groups",
            "get /v1/admin/groups/{name}",
            "get /v1/admin/groups/{name}/blocked",
            "get /v1/admin/groups/{name}/dead-letters",
            "get /v1/admin/messages/{id}",
            "get /v1/admin/topics",
            "get /v1/admin/topics/{name}",
            "get /v1/admin/topics/{name}/messages",
            "get /v1/admin/transactions/parked",
            "get /v1/check-urls",
            "get /v1/check-urls/{id}",
            "get /v1/check-urls/{id}/deliveries",
            "get /v1/groups/{group}/stream",
            "get /v1/producers/{topic}/checks",
            "get /v1/webhooks",
            "get /v1/webhooks/{id}",
            "get /v1/webhooks/{id}/deliveries",
            "patch /v1/admin/groups/{name}",
            "patch /v1/admin/topics/{name}",
            "patch /v1/check-urls/{id}",
            "patch /v1/webhooks/{id}",
            "post /v1/admin/groups/{name}",
            "post /v1/admin/groups/{name}/dead-letters/redrive",
            "post /v1/admin/groups/{name}/offsets",
            "post /v1/admin/topics/{name}",
            "post /v1/admin/topics/{name}/freeze",
            "post /v1/admin/transactions/parked/resume",
            "post /v1/check-urls",
            "post /v1/groups/{group}/ack",
            "post /v1/groups/{group}/dead-letter",
            "post /v1/groups/{group}/extend",
            "post /v1/groups/{group}/nack",
            "post /v1/groups/{group}/receive",
            "post /v1/topics/{topic}/messages",
            "post /v1/topics/{topic}/transactions",
            "post /v1/transactions/{id}/commit",
            "post /v1/transactions/{id}/rollback",
            "post /v1/transactions/{id}/unknown",
            "post /v1/webhooks",
            "post /v1/webhooks/{id}/test",
        ]
    );
}

#[test]
fn every_answer_with_a_body_names_its_shape() {
    let document = serde_json::to_value(openapi::document(true)).expect("plain data");
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for operation in methods.as_object().expect("methods").values() {
            let responses = operation["responses"].as_object().expect("responses");
            let problem = &responses["default"]["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(problem, "#/components/schemas/Document", "{path}");
            let success = responses.iter().find(|(status, _)| ["200", "201", "204"].contains(&status.as_str()));
            let (status, success) = success.expect("an answer");
            assert_eq!(success["content"].is_object(), status != "204", "{path}: {success}");
        }
    }
}

#[test]
fn a_result_that_failed_has_a_shape_of_its_own() {
    let document = serde_json::to_value(openapi::document(true)).expect("plain data");
    let schemas = &document["components"]["schemas"];
    let shapes = schemas["SendResult"]["oneOf"].as_array().expect("one of two").len();
    assert_eq!(shapes, 2, "{}", schemas["SendResult"]);
    assert_eq!(schemas["RefusedResult"]["required"], json!(["status", "problem"]));
}

#[test]
fn members_of_variants_are_named_as_they_are_written() {
    let document = serde_json::to_value(openapi::document(true)).expect("plain data");
    let policies = document["components"]["schemas"]["Retry"]["oneOf"].as_array().expect("two").clone();
    assert!(policies[0]["properties"]["nextMs"].is_object(), "{policies:?}");
    assert!(policies[1]["properties"]["initialMs"].is_object(), "{policies:?}");
}

#[test]
fn what_goes_over_a_websocket_has_shapes() {
    let document = serde_json::to_value(openapi::document(false)).expect("plain data");
    let schemas = &document["components"]["schemas"];
    for frame in ["ClientFrame", "ServerFrame"] {
        assert!(schemas[frame].is_object(), "{frame}");
    }
    // Whatever they refer to is there, too.
    let text = document.to_string();
    let referred = text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
    for name in referred {
        assert!(schemas[name].is_object(), "{name}");
    }
}

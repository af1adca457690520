//! Compares our descriptors with those inside an official client package, name by name and number by number.
//!
//! The official ones come from `tests/export_descriptors.py`, which `cargo xtask test` runs; the variable
//! `GANTRY_OFFICIAL_DESCRIPTORS` names the file that it wrote. Without it the comparison is skipped, with
//! `CI=true` that is a failure.

use std::collections::BTreeSet;
use std::env;

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};

const VARIABLE: &str = "GANTRY_OFFICIAL_DESCRIPTORS";
const PACKAGE: &str = "apache.rocketmq.v2";

/// Every name, number, type and label of the package as one line each, so that sets can be compared and read.
fn facts(files: &FileDescriptorSet) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for file in files.file.iter().filter(|file| file.package() == PACKAGE) {
        for message in &file.message_type {
            message_facts(PACKAGE, message, &mut facts);
        }
        for enumeration in &file.enum_type {
            enum_facts(PACKAGE, enumeration, &mut facts);
        }
        for service in &file.service {
            service_facts(service, &mut facts);
        }
    }
    facts
}

fn message_facts(scope: &str, message: &DescriptorProto, facts: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", message.name());
    facts.insert(format!("message {name}"));
    for field in &message.field {
        let oneof = field.oneof_index.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?));
        facts.insert(format!(
            "field {name}.{} = {} {:?} {:?} {} oneof={} optional={}",
            field.name(),
            field.number(),
            field.label(),
            field.r#type(),
            field.type_name(),
            oneof.map_or("", |oneof| oneof.name()),
            field.proto3_optional(),
        ));
    }
    for nested in &message.nested_type {
        message_facts(&name, nested, facts);
    }
    for enumeration in &message.enum_type {
        enum_facts(&name, enumeration, facts);
    }
}

fn enum_facts(scope: &str, enumeration: &EnumDescriptorProto, facts: &mut BTreeSet<String>) {
    for value in &enumeration.value {
        facts.insert(format!("value {scope}.{} {} = {}", enumeration.name(), value.name(), value.number()));
    }
}

fn service_facts(service: &ServiceDescriptorProto, facts: &mut BTreeSet<String>) {
    for method in &service.method {
        facts.insert(format!(
            "method {}.{} ({} {}) returns ({} {})",
            service.name(),
            method.name(),
            method.input_type(),
            if method.client_streaming() { "stream" } else { "" },
            method.output_type(),
            if method.server_streaming() { "stream" } else { "" },
        ));
    }
}

fn ours() -> BTreeSet<String> {
    facts(&FileDescriptorSet::decode(grpc::FILE_DESCRIPTOR_SET).expect("written by our build"))
}

#[test]
fn everything_in_the_official_client_is_the_same_here() {
    let Ok(path) = env::var(VARIABLE) else {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "with CI=true {VARIABLE} must name the exported descriptors");
        eprintln!("skipped: {VARIABLE} is not set; cargo xtask test sets it");
        return;
    };
    #[expect(clippy::disallowed_methods, reason = "a test's own input")]
    let bytes = std::fs::read(&path).expect("readable");
    let official = facts(&FileDescriptorSet::decode(bytes.as_slice()).expect("a FileDescriptorSet"));
    assert!(official.len() > 400, "{path} holds only {} facts", official.len());

    let ours = ours();
    let missing: Vec<_> = official.difference(&ours).collect();
    assert!(missing.is_empty(), "not or differently here: {missing:#?}");
    for newer in ours.difference(&official) {
        println!("only here: {newer}");
    }
}

#[test]
fn the_newest_additions_are_here() {
    let ours = ours();
    for fact in [
        "field apache.rocketmq.v2.SystemProperties.priority = 22 Optional Int32  oneof=_priority optional=true",
        "field apache.rocketmq.v2.SystemProperties.lite_topic = 21 Optional String  oneof=_lite_topic optional=true",
        "field apache.rocketmq.v2.SendResultEntry.recall_handle = 5 Optional String  oneof= optional=false",
        "field apache.rocketmq.v2.ChangeInvisibleDurationRequest.suspend = 7 Optional Bool  oneof=_suspend optional=true",
        "field apache.rocketmq.v2.OffsetOption.tail_n = 3 Optional Int64  oneof=offset_type optional=false",
        "value apache.rocketmq.v2.Code INVALID_CLIENT_PROPERTIES = 40021",
        "value apache.rocketmq.v2.ClientType LITE_SIMPLE_CONSUMER = 6",
    ] {
        assert!(ours.contains(fact), "{fact}");
    }
    let is_map = |fact: &&String| fact.contains("Settings.client_properties = 9 Repeated Message");
    assert_eq!(ours.iter().filter(is_map).count(), 1);
    assert_eq!(ours.iter().filter(|fact| fact.starts_with("method MessagingService.")).count(), 17);
    assert_eq!(ours.iter().filter(|fact| fact.starts_with("method Admin.")).count(), 16);
}

use proptest::prelude::*;

use super::*;
use crate::command::{Flag, Language, Opaque};
use crate::fields::Fields;

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.chunks(2).map(byte).collect::<Vec<u8>>().into()
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, text) in pairs {
        assert!(fields.set((*name).to_owned(), (*text).to_owned()));
    }
    fields
}

/// The request that Apache's encoder was measured with.
fn route_of_t(serialize_type: SerializeType) -> Command {
    Command {
        code: 105,
        language: Language::JAVA,
        version: 513,
        opaque: Opaque(7),
        flag: Flag(0),
        remark: None,
        fields: fields(&[("topic", "T")]),
        body: Bytes::new(),
        serialize_type,
    }
}

fn encoded(command: &Command) -> Bytes {
    let mut out = BytesMut::new();
    encode(command, &mut out).expect("has room");
    out.freeze()
}

/// Apache 5.5's `RemotingCommand#encode` made both frames.
#[test]
fn frames_are_apaches_byte_by_byte() {
    let json = br#"{"code":105,"extFields":{"topic":"T"},"flag":0,"language":"JAVA","opaque":7,"serializeTypeCurrentRPC":"JSON","version":513}"#;
    let json = Bytes::from([&hex("0000007f 0000007b")[..], json].concat());
    let binary = hex("00000025 01000021 0069 00 0201 00000007 00000000 00000000 0000000c 0005 746f706963 00000001 54");
    for (frame, serialize_type) in [(json, SerializeType::Json), (binary, SerializeType::RocketMq)] {
        let command = route_of_t(serialize_type);
        assert_eq!(encoded(&command), frame);
        assert_eq!(announced(&frame), Ok(Some(frame.len())));
        assert_eq!(decode(frame), Ok(command));
    }
}

#[test]
fn a_length_is_known_after_four_bytes_and_bounded() {
    assert_eq!(announced(&[0, 0, 0]), Ok(None));
    assert_eq!(announced(&[0, 0, 0, 3]), Err(Error::TooShort { bytes: 7 }));
    assert_eq!(announced(&[0, 0, 0, 4]), Ok(Some(8)));
    assert_eq!(announced(&[0, 0xff, 0xff, 0xfc]), Ok(Some(FRAME_BYTES_MAX)));
    assert_eq!(announced(&[0, 0xff, 0xff, 0xfd]), Err(Error::TooLong { bytes: FRAME_BYTES_MAX + 1 }));
    assert!(announced(&[0xff; 4]).is_err());
}

#[test]
fn a_header_longer_than_its_frame_is_refused() {
    let refused = decode(hex("00000005 00000002 7b"));
    assert_eq!(refused, Err(Error::HeaderTooLong { header_bytes: 2, header_bytes_max: 1 }));
    assert_eq!(decode(hex("00000004 02000000")), Err(Error::SerializeType(2)));
    assert_eq!(decode(hex("0000")), Err(Error::TooShort { bytes: 2 }));
}

#[test]
fn json_headers_of_other_clients_are_read() {
    let header = |text: &str| header_json::decode(text.as_bytes());
    let command = header(r#"{"code":34,"extFields":{"a":1,"b":true,"c":null,"d":"x","a":"2"},"language":"COBOL"}"#)
        .expect("read");
    assert_eq!(command.fields, fields(&[("a", "2"), ("b", "true"), ("d", "x")]));
    assert_eq!((command.code, command.language, command.version), (34, Language::OTHER, 0));
    assert_eq!(header("{}").expect("all defaults").language, Language::JAVA);
    assert_eq!(header(r#"{"extFields":null,"remark":null}"#).expect("nulls").fields, Fields::default());
    assert!(header(r#"{"extFields":{"a":[]}}"#).is_err());
    let many: Vec<String> = (0..=FIELDS_MAX).map(|n| format!(r#""{n}":"""#)).collect();
    assert!(header(&format!(r#"{{"extFields":{{{}}}}}"#, many.join(","))).is_err());
}

#[test]
fn what_has_no_room_in_a_frame_is_refused_and_nothing_is_written() {
    let mut out = BytesMut::new();
    let pop = Command { code: 200_050, ..route_of_t(SerializeType::RocketMq) };
    assert_eq!(encode(&pop, &mut out), Err(Error::NoRoom { what: "code", value: 200_050 }));
    let big = Command { body: vec![0; FRAME_BYTES_MAX].into(), ..route_of_t(SerializeType::Json) };
    assert!(matches!(encode(&big, &mut out), Err(Error::TooLong { .. })));
    assert!(out.is_empty());
}

prop_compose! {
    fn command()(
        is_binary: bool, small: i16, large: i32, language in 0_u8..14, version: i16, opaque: i32, flag: i32,
        remark in prop::option::of(".{1,9}"), pairs in prop::collection::btree_map(".{0,9}", ".{0,9}", 0..5),
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) -> Command {
        let mut fields = Fields::default();
        for (name, text) in pairs {
            assert!(fields.set(name, text));
        }
        Command {
            code: if is_binary { small.into() } else { large },
            language: Language::of_number(language),
            version: version.into(),
            opaque: Opaque(opaque),
            flag: Flag(flag),
            remark,
            fields,
            body: body.into(),
            serialize_type: if is_binary { SerializeType::RocketMq } else { SerializeType::Json },
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(command in command()) {
        let frame = encoded(&command);
        prop_assert_eq!(announced(&frame), Ok(Some(frame.len())));
        prop_assert_eq!(decode(frame), Ok(command));
    }

    #[test]
    fn a_cut_header_is_refused(command in command(), keep in 0.0..1.0) {
        let header = match command.serialize_type {
            SerializeType::Json => header_json::encode(&command),
            SerializeType::RocketMq => header_binary::encode(&command).expect("has room"),
        };
        let cut = &header[..(header.len() as f64 * keep) as usize];
        let read = match command.serialize_type {
            SerializeType::Json => header_json::decode(cut),
            SerializeType::RocketMq => header_binary::decode(cut),
        };
        prop_assert!(read.is_err());
    }
}

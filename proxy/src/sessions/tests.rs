//! Tests of the client registry.

use super::*;

const START: Timestamp = Timestamp(1_000_000);

fn topic() -> TopicName {
    TopicName::new("orders").expect("valid")
}

/// Both ends of a stream, as its task and the client have them.
struct Stream {
    sender: mpsc::Sender<Command>,
    receiver: mpsc::Receiver<Command>,
}

fn open(session: &Session) -> Stream {
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    session.open(&sender, v2::Settings::default());
    Stream { sender, receiver }
}

#[test]
fn a_client_is_alive_while_a_connection_is_open_and_it_is_heard_of() {
    let sessions = Sessions::default();
    let session = sessions.seen("a", START).expect("room");
    assert_eq!(sessions.sweep(START), Swept::default(), "no connection yet");
    let connection = Attached::default();
    connection.note(&session);
    connection.note(&session);
    assert_eq!(sessions.sweep(START).alive, ["a".into()]);
    drop(connection);
    assert_eq!(sessions.sweep(START), Swept::default());
    assert_eq!(sessions.sweep(START.plus(EXPIRY)).expired, 0);
    assert_eq!(sessions.sweep(START.plus(EXPIRY + Duration::from_millis(1))).expired, 1);
    assert!(sessions.get("a").is_none());
}

#[test]
fn pitfall_23_a_heartbeat_every_30_seconds_keeps_a_client() {
    assert!(EXPIRY >= Duration::from_secs(90));
    let sessions = Sessions::default();
    let connection = Attached::default();
    for beat in 0..10 {
        let now = START.plus(Duration::from_secs(30 * beat));
        connection.note(&sessions.seen("rust", now).expect("room"));
        let just_before_the_next = now.plus(Duration::from_millis(29_999));
        assert_eq!(sessions.sweep(just_before_the_next).alive.len(), 1);
    }
}

#[test]
fn producers_hold_no_leases() {
    let sessions = Sessions::default();
    let connection = Attached::default();
    let session = sessions.seen("p", START).expect("room");
    connection.note(&session);
    session.update(|profile| profile.client_type = Some(v2::ClientType::Producer));
    assert!(sessions.sweep(START).alive.is_empty());
}

#[test]
fn pitfall_15_a_client_with_an_open_stream_is_never_forgotten() {
    let sessions = Sessions::default();
    let commands = open(&sessions.seen("a", START).expect("room"));
    let late = START.plus(10 * EXPIRY);
    assert_eq!(sessions.sweep(late).expired, 0);
    drop(commands.receiver);
    assert_eq!(sessions.sweep(late).expired, 1, "the client closed it");
    let commands = open(&sessions.seen("b", START).expect("room"));
    drop(commands.sender);
    assert_eq!(sessions.sweep(late).expired, 1, "its task ended");
}

#[test]
fn pitfall_06_the_answer_to_settings_is_repeated_once_a_stream() {
    let sessions = Sessions::default();
    let session = sessions.seen("node", START).expect("room");
    session.repeat_answer();
    let mut commands = open(&session);
    session.repeat_answer();
    session.repeat_answer();
    let repeated = commands.receiver.try_recv().expect("sent").expect("a command");
    assert_eq!(repeated.status.expect("set").code(), v2::Code::Ok);
    assert!(commands.receiver.try_recv().is_err(), "once");
    let mut second = open(&session);
    session.repeat_answer();
    assert!(second.receiver.try_recv().is_ok(), "a new stream hears it again");
}

#[test]
fn pitfall_46_checks_go_to_producers_with_transactions_in_turn() {
    let sessions = Sessions::default();
    let command = v2::TelemetryCommand::default();
    assert!(!sessions.command_producer(&topic(), &command), "nobody is there");
    let mut streams = Vec::new();
    for id in ["declared", "t1", "t2"] {
        let session = sessions.seen(id, START).expect("room");
        streams.push(open(&session));
        sessions.note_topics(&session, &[topic()]);
        if id != "declared" {
            sessions.note_transaction(&session, &topic());
        }
    }
    assert!(sessions.command_producer(&topic(), &command));
    assert!(sessions.command_producer(&topic(), &command));
    let heard: Vec<bool> = streams.iter_mut().map(|stream| stream.receiver.try_recv().is_ok()).collect();
    assert_eq!(heard, [false, true, true]);
    streams.truncate(1);
    assert!(
        sessions.command_producer(&topic(), &command),
        "a producer of the topic without transactions is better than none"
    );
    assert!(streams[0].receiver.try_recv().is_ok());
}

#[test]
fn commands_to_a_client_that_does_not_read_are_dropped_at_the_bound() {
    let sessions = Sessions::default();
    let session = sessions.seen("a", START).expect("room");
    let _never_read = open(&session);
    for _ in 0..COMMANDS_MAX {
        assert!(session.command(v2::TelemetryCommand::default()));
    }
    assert!(!session.command(v2::TelemetryCommand::default()));
}

#[test]
fn producers_that_are_gone_take_no_places_of_others() {
    let producers = Producers::default();
    for _ in 0..producers::PER_TOPIC_MAX {
        let gone = Sessions::default().seen("gone", START).expect("room");
        producers.note_transaction(&gone, &topic());
    }
    let session = Sessions::default().seen("p", START).expect("room");
    let _stream = open(&session);
    producers.note_transaction(&session, &topic());
    assert_eq!(producers.candidates(&topic()).len(), 1);
}

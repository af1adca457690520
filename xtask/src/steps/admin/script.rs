//! What is asked, and what is known of the answer. Words in capitals stand for what [`super::Filled`] knows.

/// How an answer is judged.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    /// It succeeds and says this.
    Says(&'static str),
    /// It succeeds and does not say this.
    Lacks(&'static str),
    /// It succeeds and says this, a line each.
    Lines(&'static [&'static str]),
    /// It says this, and fails because an answer is missing in it.
    Misses(&'static str),
    /// It fails, and says these words of the reason.
    Fails(&'static [&'static str]),
}
use Asked::{Fails, Lacks, Lines, Misses, Says};

/// On an empty cluster.
pub(super) const MADE: &[(&str, Asked)] = &[
    (
        "clusterList",
        Says(
            r#"{"brokers":[{"cluster":"DefaultCluster","broker":"broker-a","id":0,"address":"ADDRESS_A","version":"V5_5_0"},
            {"cluster":"DefaultCluster","broker":"broker-b","id":0,"address":"ADDRESS_B","version":"V5_5_0"}],"missing":[]}"#,
        ),
    ),
    ("clusterList --tls", Says(r#"{"brokers":[{"broker":"broker-a"},{"broker":"broker-b"}],"missing":[]}"#)),
    ("clusterList --ca ca.pem", Fails(&["--tls"])),
    ("clusterList --tls --ca no-such-file", Fails(&["cannot read no-such-file"])),
    (
        "updateTopic -c DefaultCluster -t orders -r 2 -w 2 -a +message.type=NORMAL",
        Says(
            r#"{"topic":"orders","brokers":[{"broker":"broker-a","created":true,"readQueues":2,"writeQueues":2,"perm":6},
            {"broker":"broker-b","created":true}],"missing":[]}"#,
        ),
    ),
    (
        "updateTopic -b broker-a -t orders -p 4",
        Says(
            r#"{"brokers":[{"broker":"broker-a","created":false,"readQueues":2,"writeQueues":2,"perm":4}],"missing":[]}"#,
        ),
    ),
    (
        "updateTopic -b ADDRESS_A -t orders -p 6",
        Says(r#"{"brokers":[{"address":"ADDRESS_A","created":false,"readQueues":2,"perm":6}],"missing":[]}"#),
    ),
    (
        "updateSubGroup -c DefaultCluster -g orders-group -r 3",
        Says(
            r#"{"group":"orders-group","brokers":[{"broker":"broker-a","settings":{"retryMaxTimes":3,"consumeEnable":true}},
            {"broker":"broker-b"}],"missing":[]}"#,
        ),
    ),
    (
        "updateSubGroup -b broker-a -g orders-group -o false",
        Says(r#"{"brokers":[{"broker":"broker-a","created":false,"settings":{"retryMaxTimes":3}}],"missing":[]}"#),
    ),
    ("updateTopic -c DefaultCluster -t trials -r 2 -w 2", Says(r#"{"brokers":["*","*"],"missing":[]}"#)),
    (
        "updateTopicPerm -c DefaultCluster -t trials -p 4",
        Says(
            r#"{"brokers":[{"broker":"broker-a","before":6,"perm":4},{"broker":"broker-b","before":6,"perm":4}],"missing":[]}"#,
        ),
    ),
    (
        "updateTopicPerm -c DefaultCluster -t trials -p 6",
        Says(r#"{"brokers":[{"before":4,"perm":6},{"before":4,"perm":6}],"missing":[]}"#),
    ),
    (
        "updateTopicPerm -b broker-a -t nowhere -p 4",
        Misses(r#"{"brokers":[],"missing":[{"broker":"broker-a","address":"ADDRESS_A"}]}"#),
    ),
    (
        "updateOrderConf -m put -t trials -v broker-a:2",
        Says(
            r#"{"namespace":"ORDER_TOPIC_CONFIG","key":"trials","nameServers":[{"address":"NAME_SERVER","value":"broker-a:2"}],
            "missing":[]}"#,
        ),
    ),
    ("updateOrderConf -m get -t trials", Says(r#"{"nameServers":[{"value":"broker-a:2"}],"missing":[]}"#)),
    ("updateOrderConf -m delete -t trials", Says(r#"{"nameServers":[{"value":null}],"missing":[]}"#)),
    ("updateOrderConf -m get -t trials", Says(r#"{"nameServers":[{"value":null}],"missing":[]}"#)),
    ("updateOrderConf -m put -t trials", Fails(&["--order-conf"])),
    ("updateOrderConf -m get -t trials -v broker-a:2", Fails(&["--order-conf"])),
    ("updateKvConfig -s space -k key -v value", Says(r#"{"namespace":"space","nameServers":[{"value":"value"}]}"#)),
    ("deleteKvConfig -s space -k key", Says(r#"{"key":"key","nameServers":[{"value":null}],"missing":[]}"#)),
];

/// With the messages, offsets and clients of [`super::Filled`].
pub(super) const FILLED: &[(&str, Asked)] = &[
    ("topicList", Says(r#"{"topics":["...","orders","DefaultCluster","broker-a"]}"#)),
    ("topicList -c DefaultCluster", Says(r#"{"topics":["...","orders"]}"#)),
    (
        "topicRoute -t orders",
        Says(
            r#"{"topic":"orders","brokers":[{"cluster":"DefaultCluster","broker":"broker-a","addresses":["0=ADDRESS_A"],
            "readQueues":2,"writeQueues":2,"readable":true,"writable":true},{"broker":"broker-b","addresses":["0=ADDRESS_B"]}]}"#,
        ),
    ),
    (
        "topicStatus -t orders",
        Says(
            r#"{"queues":[{"broker":"broker-a","queue":0,"firstOffset":0,"endOffset":2},
            {"broker":"broker-a","queue":1,"firstOffset":0,"endOffset":2},{"broker":"broker-b","queue":0,"firstOffset":0,
            "endOffset":2},{"broker":"broker-b","queue":1,"firstOffset":0,"endOffset":2}],"missing":[]}"#,
        ),
    ),
    ("brokerStatus -b broker-a", Says(r#"{"brokers":[{"table":{"brokerVersionDesc":"V5_5_0","putTps":"*"}}]}"#)),
    (
        "brokerStatus -c DefaultCluster",
        Says(r#"{"brokers":[{"broker":"broker-a"},{"broker":"broker-b"}],"missing":[]}"#),
    ),
    (
        "haStatus -c DefaultCluster",
        Says(
            r#"{"brokers":[{"broker":"broker-a","address":"ADDRESS_A","role":"MASTER","logEnd":"*","master":null,"slaves":[]},
            {"broker":"broker-b","role":"MASTER"}],"missing":[]}"#,
        ),
    ),
    (
        "consumerProgress -g orders-group -t orders",
        Says(
            r#"{"group":"orders-group","lag":6,"queues":[{"topic":"orders","broker":"broker-a","queue":0,"committedOffset":1,
            "endOffset":2,"lag":1},{"queue":1,"committedOffset":0,"lag":2},{"broker":"broker-b","queue":0,"lag":1},
            {"queue":1,"lag":2}],"missing":[]}"#,
        ),
    ),
    ("consumerProgress -g orders-group", Says(r#"{"queues":["...",{"topic":"orders","broker":"broker-b","lag":2}]}"#)),
    ("consumerProgress", Says(r#"{"groups":["...",{"group":"orders-group","clients":1,"lag":6}],"missing":[]}"#)),
    (
        "consumerConnection -g orders-group",
        Says(
            r#"{"messageModel":"CLUSTERING","consumeType":"CONSUME_PASSIVELY","clients":[{"clientId":"the-client",
            "language":"RUST","version":513,"brokers":["broker-a","broker-b"]}],"subscriptions":[{"topic":"orders",
            "expression":"*","expressionType":"TAG"}],"missing":[]}"#,
        ),
    ),
    ("consumerConnection -g nobody", Says(r#"{"clients":[],"missing":[]}"#)),
    (
        "producerConnection -g orders-producers",
        Says(
            r#"{"producers":[{"group":"orders-producers","broker":"broker-a","clientId":"the-client"},
            {"broker":"broker-b","clientId":"the-client"}],"missing":[]}"#,
        ),
    ),
    ("producerConnection -g nobody -t orders", Says(r#"{"producers":[],"missing":[]}"#)),
    (
        "queryMsgById -i OFFSET_MESSAGE_ID",
        Says(
            r#"{"messages":[{"topic":"orders","queue":0,"offset":0,"messageId":"MESSAGE_ID","offsetMessageId":
            "OFFSET_MESSAGE_ID","tag":"TagA","keys":["key-a-0","all"],"body":"body-a-0"}]}"#,
        ),
    ),
    (
        "queryMsgById -i OFFSET_MESSAGE_ID -b broker-a",
        Says(r#"{"messages":[{"broker":"broker-a","body":"body-a-0"}]}"#),
    ),
    ("queryMsgByUniqueKey -t orders -i MESSAGE_ID", Says(r#"{"messages":[{"body":"body-a-0"}],"missing":[]}"#)),
    (
        "queryMsgByKey -t orders -k key-b-3",
        Says(r#"{"messages":[{"broker":"broker-b","queue":1,"offset":1,"body":"body-b-3"}],"missing":[]}"#),
    ),
    ("queryMsgByKey -t orders -k all", Says(r#"{"messages":["*","*","*","*","*","*","*","*"]}"#)),
    ("queryMsgByKey -t orders -k all --max 3", Says(r#"{"messages":["*","*","*"]}"#)),
    ("queryMsgByKey -t orders -k all --to 2026-01-01T00:00:00Z", Says(r#"{"messages":[],"missing":[]}"#)),
    (
        "queryMsgByOffset -t orders -b broker-a -i 1 -o 0",
        Says(r#"{"messages":[{"broker":"broker-a","queue":1,"offset":0,"body":"body-a-1"}]}"#),
    ),
    ("queryMsgByOffset -t orders -b broker-a -i 1 -o 7", Fails(&["no message at offset 7 of queue 1", "broker-a"])),
    (
        "printMsg -t orders -b broker-a",
        Lines(&[
            r#"{"broker":"broker-a","queue":0,"offset":0,"body":"body-a-0"}"#,
            r#"{"queue":0,"offset":1,"body":"body-a-2"}"#,
            r#"{"queue":1,"offset":0,"body":"body-a-1"}"#,
            r#"{"queue":1,"offset":1,"body":"body-a-3"}"#,
        ]),
    ),
    ("printMsg -t orders --max 3", Lines(&["{}", "{}", "{}"])),
    (
        "consumeMessage -t orders -g orders-group -b broker-a -i 0 -o 1",
        Lines(&[r#"{"broker":"broker-a","queue":0,"offset":1,"body":"body-a-2"}"#]),
    ),
    ("consumeMessage -t orders -c 3", Lines(&["{}", "{}", "{}"])),
    ("consumeMessage -t orders -i 0 -o 1", Fails(&["--broker"])),
    (
        "queryMsgTraceById -i MESSAGE_ID",
        Says(
            r#"{"events":[{"kind":"Pub","atMs":1700000000000,"group":"orders-producers","tookMs":3,"succeeded":true},
            {"kind":"SubBefore","group":"orders-group","retries":0},{"kind":"SubAfter","group":"orders-group","tookMs":2,
            "succeeded":true}],"missing":[]}"#,
        ),
    ),
    ("queryMsgTraceById -i NOBODY", Says(r#"{"events":[],"missing":[]}"#)),
    (
        "statsAll -t orders",
        Says(
            r#"{"topics":["...",{"topic":"orders","group":"orders-group","lag":6,"sent":"*","received":"*"}],"missing":[]}"#,
        ),
    ),
    (
        "statsAll",
        Says(r#"{"topics":["...",{"topic":"orders","group":"orders-group"},{"topic":"trials","group":null}]}"#),
    ),
    (
        "sendMessage -t trials -p hello -k key-1 -c TagB -b broker-a -i 1",
        Says(r#"{"topic":"trials","broker":"broker-a","queue":1,"offset":0,"status":"Success","messageId":"*"}"#),
    ),
    (
        "consumeMessage -t trials",
        Lines(&[r#"{"broker":"broker-a","queue":1,"offset":0,"body":"hello","tag":"TagB","keys":["key-1"]}"#]),
    ),
    ("sendMessage -t trials -p hello", Says(r#"{"broker":"broker-a","status":"Success"}"#)),
    ("sendMessage -t trials -p hello -i 1", Fails(&["--broker"])),
    ("sendMessage -t nowhere -p hello", Fails(&["GetRouteInfoByTopic of topic nowhere", "17"])),
    (
        "checkMsgSendRT -t trials -a 5 -s 16",
        Says(
            r#"{"sends":[{"broker":"broker-a","queue":0,"stored":true,"ms":"*"},{"broker":"broker-a","queue":1},
            {"broker":"broker-b","queue":0},{"broker":"broker-b","queue":1},{"broker":"broker-a","queue":0}],"averageMs":"*",
            "missing":[]}"#,
        ),
    ),
    ("updateSubGroup -c DefaultCluster -g billing-group", Says(r#"{"brokers":["*","*"],"missing":[]}"#)),
    (
        "cloneGroupOffset -s orders-group -d billing-group -t orders",
        Says(
            r#"{"group":"billing-group","queues":[{"broker":"broker-a","queue":0,"offset":1},{"queue":1,"offset":0},
            {"broker":"broker-b","queue":0,"offset":1},{"queue":1,"offset":0}],"missing":[]}"#,
        ),
    ),
    ("consumerProgress -g billing-group -t orders", Says(r#"{"lag":6}"#)),
    (
        "skipAccumulatedMessage -g billing-group -t orders",
        Says(r#"{"queues":[{"offset":2},{"offset":2},{"offset":2},{"offset":2}],"missing":[]}"#),
    ),
    ("consumerProgress -g billing-group -t orders", Says(r#"{"lag":0}"#)),
    ("printMsg -t orders --from 2026-01-01T00:00:00Z -q 0", Lines(&["{}", "{}", "{}", "{}"])),
    ("printMsg -t orders --to 2026-01-01T00:00:00Z", Lines(&[])),
    (
        "resetOffsetByTime -g orders-group -t orders -s now",
        Says(
            r#"{"queues":[{"broker":"broker-a","queue":0,"offset":2},{"queue":1,"offset":2},{"broker":"broker-b","queue":0,
            "offset":2},{"queue":1,"offset":2}],"missing":[]}"#,
        ),
    ),
    ("consumerProgress -g orders-group -t orders", Says(r#"{"lag":0}"#)),
    (
        "resetOffsetByTime -g orders-group -t orders -s 2026-01-01T00:00:00Z -b broker-b -q 1",
        Says(r#"{"queues":[{"broker":"broker-b","queue":1,"offset":0}],"missing":[]}"#),
    ),
    ("consumerProgress -g orders-group -t orders", Says(r#"{"lag":2}"#)),
    (
        "wipeWritePerm -b broker-b",
        Says(r#"{"broker":"broker-b","nameServers":[{"address":"NAME_SERVER","topics":"*"}]}"#),
    ),
    (
        "topicRoute -t orders",
        Says(r#"{"brokers":[{"writable":true},{"broker":"broker-b","readable":true,"writable":false}]}"#),
    ),
    ("addWritePerm -b broker-b", Says(r#"{"nameServers":[{"address":"NAME_SERVER"}],"missing":[]}"#)),
    ("topicRoute -t orders", Says(r#"{"brokers":[{"writable":true},{"broker":"broker-b","writable":true}]}"#)),
    (
        "updateBrokerConfig -b broker-a -k defaultTopicQueueNums -v 6",
        Says(r#"{"brokers":[{"broker":"broker-a","table":{"defaultTopicQueueNums":"6"}}],"missing":[]}"#),
    ),
    (
        "getBrokerConfig -b broker-a -k defaultTopicQueueNums",
        Says(r#"{"brokers":[{"table":{"defaultTopicQueueNums":"6"}}],"missing":[]}"#),
    ),
    ("getBrokerConfig -c DefaultCluster", Says(r#"{"brokers":["*",{"table":{"defaultTopicQueueNums":"8"}}]}"#)),
    (
        "updateBrokerConfig -c DefaultCluster -k brokerConfigPath -v elsewhere",
        Misses(r#"{"brokers":[],"missing":[{"broker":"broker-a"},{"broker":"broker-b"}]}"#),
    ),
    ("updateTopic -c DefaultCluster -t returns", Says(r#"{"brokers":[{"created":true,"readQueues":8},"*"]}"#)),
    ("topicRoute -t returns", Says(r#"{"brokers":[{"readQueues":8,"writeQueues":8},"*"]}"#)),
    ("deleteTopic -c DefaultCluster -t returns", Says(r#"{"brokers":["broker-a","broker-b"],"missing":[]}"#)),
    ("topicRoute -t returns", Fails(&["name server (NAME_SERVER)", "GetRouteInfoByTopic of topic returns", "17"])),
    ("updateSubGroup -c DefaultCluster -g returns-group", Says(r#"{"brokers":["*","*"],"missing":[]}"#)),
    ("consumerProgress", Says(r#"{"groups":["...",{"group":"returns-group","clients":0,"lag":0}]}"#)),
    ("deleteSubGroup -c DefaultCluster -g returns-group", Says(r#"{"brokers":["broker-a","broker-b"],"missing":[]}"#)),
    ("consumerProgress", Lacks(r#"{"groups":["...",{"group":"returns-group"}]}"#)),
    ("brokerStatus -b broker-x", Fails(&["no broker \"broker-x\"", "broker-a, broker-b"])),
    ("deleteTopic -c Elsewhere -t orders", Fails(&["no cluster \"Elsewhere\"", "DefaultCluster"])),
    ("queryMsgById -i MESSAGE", Fails(&["MESSAGE is no offset message id", "queryMsgByUniqueKey"])),
];

/// With a third broker that has the topic and is not there.
pub(super) const ALONE: &[(&str, Asked)] = &[
    (
        "clusterList",
        Misses(
            r#"{"brokers":[{"broker":"broker-a"},{"broker":"broker-b"}],"missing":[{"broker":"broker-gone","address":
            "ADDRESS_GONE"}]}"#,
        ),
    ),
    ("topicStatus -t orders", Misses(r#"{"queues":["*","*","*","*"],"missing":[{"broker":"broker-gone"}]}"#)),
    (
        "consumerProgress -g orders-group -t orders",
        Misses(r#"{"lag":2,"queues":["*","*","*","*"],"missing":[{"broker":"broker-gone"}]}"#),
    ),
    ("consumerProgress", Misses(r#"{"groups":["...",{"group":"orders-group"}],"missing":[{"broker":"broker-gone"}]}"#)),
    (
        "queryMsgByKey -t orders -k key-b-3",
        Misses(r#"{"messages":[{"body":"body-b-3"}],"missing":[{"broker":"broker-gone"}]}"#),
    ),
    ("printMsg -t orders", Fails(&["not all is printed", "broker-gone (ADDRESS_GONE)"])),
    (
        "statsAll -t orders",
        Misses(r#"{"topics":["...",{"group":"orders-group"}],"missing":[{"broker":"broker-gone"}]}"#),
    ),
    (
        "cloneGroupOffset -s orders-group -d billing-group -t orders",
        Misses(r#"{"queues":["*","*","*","*"],"missing":[{"broker":"broker-gone"}]}"#),
    ),
    ("sendMessage -t orders -p hello -b broker-gone", Fails(&["broker-gone (ADDRESS_GONE) does not answer"])),
    (
        "updateTopic -c DefaultCluster -t orders -r 4",
        Misses(r#"{"brokers":[{"broker":"broker-a","readQueues":4},"*"],"missing":[{"broker":"broker-gone"}]}"#),
    ),
    (
        "checkMsgSendRT -t orders -a 6",
        Misses(
            r#"{"sends":["*","*","*","*",{"broker":"broker-gone","stored":false},{"stored":false}],"averageMs":"*","missing":
            [{"broker":"broker-gone"}]}"#,
        ),
    ),
];

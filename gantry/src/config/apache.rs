//! Apache's configuration keys that are accepted and have no meaning in local mode, so that a file which serves an
//! Apache broker or proxy can be given to us without being taken apart.
//!
//! Source: Apache 5.5 `ProxyConfig`, `BrokerConfig`, `MessageStoreConfig`, `AuthConfig`. Keys whose absence would
//! change what a client may do (authentication, for one) are not here: those are reported as unknown.

/// Sorted, for the binary search.
const KEYS: [&str; 53] = [
    "abortFile",
    "accessMessageInMemoryMaxRatio",
    "ackMessageThreadPoolNums",
    "brokerClusterName",
    "brokerHeartbeatInterval",
    "brokerIP1",
    "brokerIP2",
    "brokerId",
    "brokerRole",
    "channelExpiredTimeout",
    "destroyMapedFileIntervalForcibly",
    "enableGrpcEpoll",
    "enableRemotingLocalProxyGrpc",
    "endTransactionThreadPoolNums",
    "flushCommitLogLeastPages",
    "flushCommitLogTimed",
    "flushConsumeQueueLeastPages",
    "flushConsumeQueueThoroughInterval",
    "grpcBossLoopNum",
    "grpcThreadPoolNums",
    "grpcThreadPoolQueueCapacity",
    "grpcWorkerLoopNum",
    "haListenPort",
    "listenPort",
    "localProxyConnectTimeoutMs",
    "mapedFileSizeCommitLog",
    "mapedFileSizeConsumeQueue",
    "mappedFileSizeConsumeQueue",
    "messageIndexEnable",
    "messageIndexSafe",
    "metricsExporterType",
    "metricsPromExporterPort",
    "namesrvAddr",
    "namesrvDomain",
    "namesrvDomainSubgroup",
    "proxyClusterName",
    "proxyMode",
    "proxyName",
    "pullMessageThreadPoolNums",
    "redeleteHangedFileInterval",
    "registerNameServerPeriod",
    "remotingAccessAddr",
    "remotingListenPort",
    "rocketMQClusterName",
    "rocketmqMQClientNum",
    "sendMessageThreadPoolNums",
    "storeCheckpoint",
    "storePathConsumeQueue",
    "storePathIndex",
    "transferMsgByHeap",
    "transientStorePoolEnable",
    "transientStorePoolSize",
    "useReentrantLockWhenPutMessage",
];

/// Whether Apache knows the key and nothing here depends on it.
pub(super) fn is_known(key: &str) -> bool {
    KEYS.binary_search(&key).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted() {
        assert!(KEYS.is_sorted());
        assert!(is_known("namesrvAddr"));
        assert!(!is_known("authenticationEnabled"));
    }
}

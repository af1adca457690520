//! Request and response codes. Source: Apache 5.5 `RequestCode`, `ResponseCode`, `RemotingSysResponseCode`.

/// An enum over numbers of a peer, which may be any.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$of])* $variant,)*
            /// Any other number.
            Unknown(i32),
        }

        impl $name {
            /// By its number.
            #[must_use]
            pub const fn of(number: i32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Unknown(other),
                }
            }

            /// Its number.
            #[must_use]
            pub const fn number(self) -> i32 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Unknown(number) => number,
                }
            }
        }
    };
}

codes! {
    /// What is asked for.
    RequestCode {
        /// Sets a value of the key-value configuration.
        PutKvConfig = 100,
        /// Asks for a value of it.
        GetKvConfig = 101,
        /// Removes a value of it.
        DeleteKvConfig = 102,
        /// A broker tells that it lives and which topics it has.
        RegisterBroker = 103,
        /// A broker leaves.
        UnregisterBroker = 104,
        /// Where a topic's queues are.
        GetRouteInfoByTopic = 105,
        /// All clusters and brokers.
        GetBrokerClusterInfo = 106,
        /// Takes the permission to write from all topics of a broker.
        WipeWritePermOfBroker = 205,
        /// All topics.
        GetAllTopicListFromNameserver = 206,
        /// Forgets a topic's route.
        DeleteTopicInNamesrv = 216,
        /// Adds queues of one topic.
        RegisterTopicInNamesrv = 217,
        /// A whole namespace of the key-value configuration.
        GetKvListByNamespace = 219,
        /// The topics of a cluster.
        GetTopicsByCluster = 224,
        /// The topics named like clusters and brokers.
        GetSystemTopicListFromNs = 304,
        /// Topics of units.
        GetUnitTopicList = 311,
        /// Topics with subscriptions of units.
        GetHasUnitSubTopicList = 312,
        /// The same without topics of units.
        GetHasUnitSubUnunitTopicList = 313,
        /// Changes the name server's settings.
        UpdateNamesrvConfig = 318,
        /// Asks for them.
        GetNamesrvConfig = 319,
        /// Whether a broker's topics have changed since it registered.
        QueryDataVersion = 322,
        /// Gives all topics of a broker the permission to read and write.
        AddWritePermOfBroker = 327,
        /// The addresses of one broker's master and slaves.
        GetBrokerMemberGroup = 901,
        /// A broker tells that it lives.
        BrokerHeartbeat = 904,
        /// Tells a broker that another one of its name has the lowest id now.
        NotifyMinBrokerIdChange = 905,
    }
}

codes! {
    /// How it went.
    ResponseCode {
        /// Done.
        Success = 0,
        /// It failed; the remark says why.
        SystemError = 1,
        /// Too much is waiting; later it may work.
        SystemBusy = 2,
        /// Nobody serves the request's code.
        RequestCodeNotSupported = 3,
        /// Refused.
        NoPermission = 16,
        /// There is no such topic.
        TopicNotExist = 17,
        /// There is no such value.
        QueryNotFound = 22,
    }
}

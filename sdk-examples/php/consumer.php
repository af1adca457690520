<?php
// Consumes over HTTP with nothing but PHP: receives messages, works on them, acknowledges them. Any gateway takes any call, so one that
// goes away is no more than a call that is made again.
//
//   php consumer.php [HOST:PORT [TOPIC [GROUP]]]     the HTTP port of gantry local or gantry proxy

[$address, $topic, $group] = array_slice($argv, 1) + ['127.0.0.1:8082', 'orders', 'billing'];

// Status and document of an answer; the status is 0 when there is none.
function call(string $path, array $document): array
{
    global $address;
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => "Content-Type: application/json\r\nConnection: close",
        'content' => json_encode($document),
        'ignore_errors' => true,
        'timeout' => 30,
    ]]);
    $body = @file_get_contents("http://$address/v1$path", false, $context);
    if ($body === false || !preg_match('/ (\d{3})/', $http_response_header[0] ?? '', $status)) {
        return [0, null];
    }
    return [(int) $status[1], json_decode($body, true)];
}

while (true) {
    [$status, $received] = call("/groups/$group/receive", ['topic' => $topic, 'max' => 4, 'wait' => '2s', 'invisible' => '12s']);
    if ($status !== 200) {
        // 204: nothing came in time. Else no gateway or broker is there just now.
        usleep($status === 204 ? 0 : 100_000);
        continue;
    }
    foreach ($received['messages'] as $message) {
        echo "got {$message['body']}\n";
        // Here the work is done. What is not acknowledged comes again to somebody, so work that is done twice must be harmless.
        do {
            [$status] = call("/groups/$group/ack", ['topic' => $topic, 'handles' => [$message['handle']]]);
            usleep($status === 200 ? 0 : 100_000);
        } while ($status === 0 || $status >= 500);
        // 410: the lease had ended, and somebody else has the message.
        echo $status === 200 ? "done {$message['body']}\n" : "late {$message['body']}\n";
    }
}

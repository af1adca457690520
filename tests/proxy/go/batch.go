package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"google.golang.org/grpc/metadata"
)

const batchSize = 3

// batch sends messages in one request and receives each.
func batch(p place) (string, error) {
	consumer, err := p.startConsumer(p.topic, p.group())
	if err != nil {
		return "", err
	}
	var bodies []string
	for number := range batchSize {
		bodies = append(bodies, newBody(number))
	}
	ids, err := p.sendAll(bodies)
	if err != nil {
		return "", err
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != batchSize {
		return "", fmt.Errorf("ids are %q", ids)
	}
	messages, err := consumer.receiveAll(bodies)
	if err != nil {
		return "", err
	}
	var found []string
	for _, message := range messages {
		found = append(found, string(message.GetBody()))
		if err := consumer.Ack(context.Background(), message); err != nil {
			return "", err
		}
	}
	slices.Sort(found)
	slices.Sort(bodies)
	if !slices.Equal(found, bodies) {
		return "", fmt.Errorf("sent %q, delivered %q", bodies, found)
	}
	return fmt.Sprintf("%d messages of one send stored and delivered", batchSize), nil
}

// sendAll sends messages in one request and answers their ids.
func (p place) sendAll(bodies []string) ([]string, error) {
	client, err := rmq.NewRpcClient(p.proxy)
	if err != nil {
		return nil, err
	}
	defer client.GracefulStop()
	request := &v2.SendMessageRequest{}
	for _, body := range bodies {
		request.Messages = append(request.Messages, &v2.Message{
			Topic:            &v2.Resource{Name: p.topic},
			SystemProperties: &v2.SystemProperties{MessageId: rmq.GetMessageIdCodecInstance().NextMessageId().String()},
			Body:             []byte(body),
		})
	}
	ctx := metadata.AppendToOutgoingContext(context.Background(), "x-mq-client-id", newBody(0), "x-mq-language", "GO")
	answer, err := client.SendMessage(ctx, request)
	if err != nil {
		return nil, err
	}
	if answer.Status.Code != v2.Code_OK {
		return nil, fmt.Errorf("send: %v", answer)
	}
	var ids []string
	for _, entry := range answer.Entries {
		if entry.Status.Code != v2.Code_OK {
			return nil, fmt.Errorf("send: %v", answer)
		}
		// Apache's proxy has one entry with all ids.
		ids = append(ids, strings.Split(entry.MessageId, ",")...)
	}
	return ids, nil
}

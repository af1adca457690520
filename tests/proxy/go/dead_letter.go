package main

import (
	"context"
	"fmt"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
)

const (
	deliveries = 2           // of the group's settings
	againAfter = time.Second // a refused message
)

// deadLetter refuses a message in each of its attempts, and finds it among the dead letters.
func deadLetter(p place) (string, error) {
	consumer, err := p.startConsumer(p.topic, p.group())
	if err != nil {
		return "", err
	}
	undertaker, err := p.startConsumer("%DLQ%"+p.group(), p.topic+"-dead-group")
	if err != nil {
		return "", err
	}
	producer, err := start(func() (rmq.Producer, error) { return rmq.NewProducer(p.config(""), rmq.WithTopics(p.topic)) })
	if err != nil {
		return "", err
	}
	body := []string{newBody(0)}
	if _, err := producer.Send(context.Background(), &rmq.Message{Topic: p.topic, Body: []byte(body[0])}); err != nil {
		return "", err
	}
	for attempt := int32(1); attempt <= deliveries; attempt++ {
		messages, err := consumer.receiveAll(body)
		if err != nil {
			return "", fmt.Errorf("attempt %d: %w", attempt, err)
		}
		if found := messages[0].GetDeliveryAttempt(); found != attempt {
			return "", fmt.Errorf("attempt is %d, expected %d", found, attempt)
		}
		if err := consumer.ChangeInvisibleDuration(messages[0], againAfter); err != nil {
			return "", err
		}
	}
	letters := 0
	// Apache's proxy moves it away when somebody asks for messages.
	for deadline := time.Now().Add(arrivesWithin); letters == 0 && time.Now().Before(deadline); {
		again, err := consumer.receive(body)
		if err != nil {
			return "", err
		}
		if len(again) > 0 {
			return "", fmt.Errorf("delivered as attempt %d", again[0].GetDeliveryAttempt())
		}
		dead, err := undertaker.receive(body)
		if err != nil {
			return "", err
		}
		letters += len(dead)
	}
	if letters != 1 {
		return "", fmt.Errorf("%d dead letters", letters)
	}
	return fmt.Sprintf("refused in both of %d attempts: among the dead letters, not delivered again", deliveries), nil
}

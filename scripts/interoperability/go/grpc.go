package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Messages are bytes as they are: nothing is generated.
type raw struct{}

func (raw) Name() string                  { return "proto" }
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// How many calls ended because their caller cancelled them.
var cancelled atomic.Int64

// serve ADDRESS [CERTIFICATE KEY]
func grpcServe(arguments []string) error {
	listener, err := net.Listen("tcp", arguments[0])
	if err != nil {
		return err
	}
	options := []grpc.ServerOption{grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(handle)}
	if len(arguments) == 3 {
		identity, err := credentials.NewServerTLSFromFile(arguments[1], arguments[2])
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(identity))
	}
	return grpc.NewServer(options...).Serve(listener)
}

func handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	var message []byte
	switch method {
	case "/test.Probe/Fail":
		return status.Error(codes.FailedPrecondition, "grün, 100%")
	case "/test.Probe/Cancelled":
		message = fmt.Appendf(nil, "%d", cancelled.Load())
		return stream.SendMsg(&message)
	case "/test.Probe/Count":
		if err := stream.RecvMsg(&message); err != nil {
			return err
		}
		for at := range 3 {
			part := fmt.Appendf(nil, "%s %d", message, at)
			if err := stream.SendMsg(&part); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	case "/test.Probe/Hang":
		message = []byte("begun")
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
		<-stream.Context().Done()
		cancelled.Add(1)
		return stream.Context().Err()
	}
	stream.SetHeader(metadata.Pairs("x-head", "1"))
	stream.SetTrailer(metadata.Pairs("x-trailer", "2", "x-bytes-bin", "\x00\xff"))
	for {
		if err := stream.RecvMsg(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

// call ADDRESS CA|- NAME=VALUE...: makes every kind of call and prints what came of each.
func grpcCall(arguments []string) error {
	security := insecure.NewCredentials()
	if arguments[1] != "-" {
		authority, err := credentials.NewClientTLSFromFile(arguments[1], "localhost")
		if err != nil {
			return err
		}
		security = authority
	}
	connection, err := grpc.NewClient(arguments[0],
		grpc.WithTransportCredentials(security), grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, pair := range arguments[2:] {
		name, value, _ := strings.Cut(pair, "=")
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	results := map[string]string{}

	var out []byte
	var head, trailer metadata.MD
	in := []byte(strings.Repeat("u", 100_000))
	err = connection.Invoke(ctx, "/test.Probe/Echo", &in, &out, grpc.Header(&head), grpc.Trailer(&trailer))
	results["unary"] = fmt.Sprintf("%v %t %v %v %x", status.Code(err), string(in) == string(out),
		head["x-head"], trailer["x-trailer"], trailer["x-bytes-bin"])

	err = connection.Invoke(ctx, "/test.Probe/Fail", &in, &out)
	results["failed"] = fmt.Sprintf("%v %s", status.Code(err), status.Convert(err).Message())

	both := grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := connection.NewStream(ctx, &both, "/test.Probe/Count")
	if err == nil {
		in = []byte("number")
		stream.SendMsg(&in)
		stream.CloseSend()
		var got []string
		for err == nil {
			if err = stream.RecvMsg(&out); err == nil {
				got = append(got, string(out))
			}
		}
		results["streamed"] = fmt.Sprintf("%s %t", strings.Join(got, ","), errors.Is(err, io.EOF))
	}

	stream, err = connection.NewStream(ctx, &both, "/test.Probe/Echo")
	if err == nil {
		var got []string
		for at := range 3 {
			in = fmt.Appendf(nil, "piece %d", at)
			stream.SendMsg(&in)
			// Each is back before the next is sent.
			stream.RecvMsg(&out)
			got = append(got, string(out))
		}
		stream.CloseSend()
		err = stream.RecvMsg(&out)
		results["both ways"] = fmt.Sprintf("%s %t", strings.Join(got, ","), errors.Is(err, io.EOF))
	}

	before := count(ctx, connection)
	call, leave := context.WithCancel(ctx)
	stream, err = connection.NewStream(call, &both, "/test.Probe/Hang")
	if err == nil {
		stream.RecvMsg(&out)
		leave()
		for range 100 {
			if count(ctx, connection) > before {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		results["cancelled"] = fmt.Sprintf("%s, the server saw it: %t", out, count(ctx, connection) == before+1)
	}
	leave()
	return json.NewEncoder(os.Stdout).Encode(results)
}

func count(ctx context.Context, connection *grpc.ClientConn) int {
	var in, out []byte
	connection.Invoke(ctx, "/test.Probe/Cancelled", &in, &out)
	n := 0
	fmt.Sscan(string(out), &n)
	return n
}

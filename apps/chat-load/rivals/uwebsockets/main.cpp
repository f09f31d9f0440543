// The chat of uWebSockets: a topic for each room, and the publish of the library.
//
// It follows `examples/Broadcast.cpp` of <https://github.com/uNetworking/uWebSockets>. It differs in this: there is a
// topic for each room, a text of a member is published in place of the time, without compression, and a new member
// gets `joined`.

#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "App.h"

struct Member {
    std::string room;
};

constexpr std::string_view LOOPBACK = "127.0.0.1";

// The limit of unwritten bytes of a connection, like that of the floor. The library drops what exceeds it.
constexpr unsigned int MAX_UNWRITTEN = 8 * 1024 * 1024;

int main(int argc, char **argv) {
    int port = 0;
    if (argc == 3 && argv[1] == std::string_view("--listen") && std::string_view(argv[2]).starts_with(LOOPBACK)) {
        port = std::atoi(argv[2] + LOOPBACK.size() + 1);
    } else if (argc != 1) {
        std::cerr << "expected --listen " << LOOPBACK << ":PORT" << std::endl;
        return 2;
    }

    uWS::App app;
    app.ws<Member>("/ws/:room", {
        .compression = uWS::DISABLED,
        .maxBackpressure = MAX_UNWRITTEN,
        .upgrade = [](auto *response, auto *request, auto *context) {
            response->template upgrade<Member>(
                {std::string(request->getParameter(0))},
                request->getHeader("sec-websocket-key"),
                request->getHeader("sec-websocket-protocol"),
                request->getHeader("sec-websocket-extensions"),
                context);
        },
        .open = [](auto *socket) {
            socket->subscribe(socket->getUserData()->room);
            socket->send("joined", uWS::OpCode::TEXT);
        },
        .message = [&app](auto *socket, std::string_view text, uWS::OpCode code) {
            app.publish(socket->getUserData()->room, text, code);
        },
    });
    app.listen(std::string(LOOPBACK), port, [](auto *socket) {
        if (!socket) {
            std::cerr << "the address is in use" << std::endl;
            std::exit(1);
        }
        int port = us_socket_local_port(0, reinterpret_cast<us_socket_t *>(socket));
        std::cout << "listening on ws://" << LOOPBACK << ":" << port << "/ws" << std::endl;
    });
    app.run();
}

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.util.concurrent.CompletionException;

/** Uses the service with the JDK's client as it is, which offers HTTP/2; prints a status for each request. */
public class HttpClientDefaults {
    public static void main(String[] arguments) throws Exception {
        URI api = URI.create(arguments[0] + "/api/v1/");
        String login = "Bearer " + arguments[1];
        HttpClient client = HttpClient.newHttpClient();

        String tag = "";
        URI task = null;
        for (int number = 0; number < 3; number++) {
            HttpRequest create = HttpRequest.newBuilder(api.resolve("tasks"))
                .header("Authorization", login)
                .header("Content-Type", "application/json")
                .POST(BodyPublishers.ofString("{\"title\": \"From Java\", \"description\": \"" + "x".repeat(number * 1_000) + "\"}"))
                .build();
            HttpResponse<String> made = client.send(create, BodyHandlers.ofString());
            System.out.println("POST " + made.statusCode());
            tag = made.headers().firstValue("ETag").orElse("");
            task = create.uri().resolve(made.headers().firstValue("Location").orElse(""));
        }
        HttpRequest change = HttpRequest.newBuilder(task)
            .header("Authorization", login)
            .header("Content-Type", "application/json")
            .header("If-Match", tag)
            .method("PATCH", BodyPublishers.ofString("{\"priority\": 5}"))
            .build();
        System.out.println("PATCH " + client.send(change, BodyHandlers.ofString()).statusCode());
        HttpRequest read = HttpRequest.newBuilder(task).header("Authorization", login).build();
        System.out.println("GET " + client.send(read, BodyHandlers.ofString()).statusCode());
        HttpRequest delete = HttpRequest.newBuilder(task).header("Authorization", login).DELETE().build();
        System.out.println("DELETE " + client.send(delete, BodyHandlers.ofString()).statusCode());

        URI socket = URI.create(api.resolve("tasks").toString().replaceFirst("http", "ws"));
        try {
            client.newWebSocketBuilder().buildAsync(socket, new WebSocket.Listener() {}).join();
            System.out.println("WebSocket 101");
        } catch (CompletionException error) {
            WebSocketHandshakeException refused = (WebSocketHandshakeException) error.getCause();
            System.out.println("WebSocket " + refused.getResponse().statusCode());
        }
    }
}

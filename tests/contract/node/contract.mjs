// The unmodified `openai` package for Node against a live gateway; prints what it saw as one JSON object.
// BASE_URL, API_KEY and MODELS (a JSON object: use -> model id) come from the environment.

import OpenAI from "openai";

const models = JSON.parse(process.env.MODELS);
const options = { baseURL: process.env.BASE_URL, maxRetries: 0 };
const client = new OpenAI({ ...options, apiKey: process.env.API_KEY });
const messages = [{ role: "user", content: "What is quantum computing?" }];
const tools = [
  { type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } },
];
const saw = {};

const listed = [];
for await (const row of client.models.list()) listed.push(row.id);
saw.listed = listed.includes(models.plain);
saw.retrieved = (await client.models.retrieve(models.plain)).id;

const completions = client.chat.completions;
const { data, response } = await completions.create({ model: models.plain, messages }).withResponse();
saw.created = data.choices[0].message.content;
saw.ids = [data.id, response.headers.get("x-request-id"), response.headers.get("x-generation-id")];
saw.cost = data.x_komilion.cost_nano_usd;

saw.streamed = "";
for await (const chunk of await completions.create({ model: models.plain, messages, stream: true })) {
  saw.streamed += chunk.choices[0]?.delta?.content ?? "";
  saw.streamedUsage = chunk.usage ?? saw.streamedUsage;
}

saw.helper = await completions.stream({ model: models.plain, messages }).finalContent();

const called = await completions.create({ model: models.tool, messages, tools });
saw.tool = called.choices[0].message.tool_calls[0].function;

const response_format = {
  type: "json_schema",
  json_schema: { name: "person", schema: { type: "object", properties: {} } },
};
const person = await completions.parse({ model: models.json, messages, response_format });
saw.parsed = JSON.parse(person.choices[0].message.content);

const nameOfError = async (call) => {
  try {
    await call();
    return "none";
  } catch (error) {
    return error.constructor.name;
  }
};
const stranger = new OpenAI({ ...options, apiKey: "ck_wrong" });
saw.errors = {
  wrongKey: await nameOfError(() => stranger.chat.completions.create({ model: models.plain, messages })),
  unknownModel: await nameOfError(() => completions.create({ model: "acme/none-such", messages })),
  modelNotFound: await nameOfError(() => client.models.retrieve("acme/none-such")),
  rateLimit: await nameOfError(() => completions.create({ model: models.busy, messages })),
  provider: await nameOfError(() => completions.create({ model: models.broken, messages })),
};

const many = await Promise.all(
  Array.from({ length: 40 }, () => completions.create({ model: models.plain, messages })),
);
saw.distinct = new Set(many.map((answer) => answer.id)).size;

console.log(JSON.stringify(saw));

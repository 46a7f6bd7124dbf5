"""The errors that routes about a resource document: it belongs to another user, or was not found."""

from app import errors

SOURCE = {403: "The traffic source belongs to another user.", 404: errors.TrafficSourceNotFound.message}
WEBHOOK = {403: "The webhook's traffic source belongs to another user.", 404: errors.WebhookNotFound.message}
ALERT = {403: "The alert's traffic source belongs to another user.", 404: errors.AlertNotFound.message}
DELIVERY = {403: "The delivery's traffic source belongs to another user.", 404: errors.DeliveryNotFound.message}
RECORD = {403: "The record's traffic source belongs to another user.", 404: errors.RecordNotFound.message}
